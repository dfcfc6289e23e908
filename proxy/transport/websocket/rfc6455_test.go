package websocket_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// exchange is what a client sends after the greeting, and what must come back
// from a server that echoes text messages.
type exchange struct {
	send  [][]byte // each in a write of its own
	want  []frame
	close int // code of the server's close frame; 0: the connection goes on; noCode: one without a code
}

const noCode = -1

// A connection that is to go on is asked for one more echo.
const alive = "still alive?"

func (x exchange) run(t *testing.T, g *gateway) {
	p := connect(t, g)
	for _, b := range x.send {
		if _, err := p.Write(b); err != nil {
			break // the server has closed already; its frames are still to be read
		}
	}
	for _, f := range x.want {
		p.wantFrame(f)
	}
	switch x.close {
	case 0:
		p.write(text(alive).masked())
		p.wantFrame(text(alive))
	case noCode:
		p.wantClose(0)
	default:
		p.wantClose(x.close)
	}
}

func sends(frames ...frame) (writes [][]byte) {
	for _, f := range frames {
		writes = append(writes, f.masked())
	}
	return writes
}

func raw(b ...byte) [][]byte { return [][]byte{b} }

// oneByOne sends every byte in a write of its own.
func oneByOne(writes [][]byte) (single [][]byte) {
	for _, b := range bytes.Join(writes, nil) {
		single = append(single, []byte{b})
	}
	return single
}

// joined sends everything in one write.
func joined(writes [][]byte) [][]byte { return [][]byte{bytes.Join(writes, nil)} }

func fragments(opcode byte, parts ...string) (frames []frame) {
	for i, part := range parts {
		f := frame{fin: i == len(parts)-1, opcode: opContinuation, payload: []byte(part)}
		if i == 0 {
			f.opcode = opcode
		}
		frames = append(frames, f)
	}
	return frames
}

func control(opcode byte, payload string) frame { return frame{true, opcode, []byte(payload)} }

func closing(code int, reason string) frame {
	return frame{true, opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)}
}

func echoed(messages ...string) (frames []frame) {
	for _, m := range messages {
		frames = append(frames, text(m))
	}
	return frames
}

// TestRFC6455 holds every connection to the RFC, section by section.
func TestRFC6455(t *testing.T) {
	g := start(t, "")
	cases := map[string]exchange{}
	for _, add := range []func(map[string]exchange){
		framing, masking, reserved, fragmentation, controlFrames, utf8Text, closeCodes, closeHandshake, limits,
	} {
		add(cases)
	}
	if len(cases) < 100 {
		t.Errorf("the suite has only %d cases", len(cases))
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x.run(t, g)
		})
	}
}

// Section 5.2: length and payload.
func framing(cases map[string]exchange) {
	for _, n := range []int{0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 1000, 4095, 4096, 65535, 65536} {
		message := strings.Repeat("x", n)
		cases[fmt.Sprintf("5.2 text of %d bytes", n)] = exchange{send: sends(text(message)), want: echoed(message)}
	}
	for _, n := range []int{0, 1, 125, 126, 65535} {
		binaryFrame := frame{true, opBinary, make([]byte, n)}
		cases[fmt.Sprintf("T023 binary of %d bytes means nothing", n)] = exchange{send: sends(binaryFrame)}
	}
	three := sends(text("one"), text("two"), text("three"))
	cases["5.2 three frames in one write"] = exchange{send: joined(three), want: echoed("one", "two", "three")}
	cases["5.2 every byte in a write of its own"] = exchange{send: oneByOne(three[:1]), want: echoed("one")}
	cases["5.2 long text byte by byte"] = exchange{
		send: oneByOne(sends(text(strings.Repeat("y", 200)))), want: echoed(strings.Repeat("y", 200))}
	cases["5.2 length in 64 bits with the first bit set"] = exchange{
		send: raw(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4), close: 1009}
	cases["5.2 length of 2^63-1"] = exchange{
		send: raw(0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4), close: 1009}
}

// Section 5.1: a client masks every frame.
func masking(cases map[string]exchange) {
	cases["5.1 unmasked text"] = exchange{send: raw(0x81, 5, 'h', 'e', 'l', 'l', 'o'), close: 1002}
	cases["5.1 unmasked empty text"] = exchange{send: raw(0x81, 0), close: 1002}
	cases["5.1 unmasked binary"] = exchange{send: raw(0x82, 1, 0), close: 1002}
	cases["5.1 unmasked ping"] = exchange{send: raw(0x89, 0), close: 1002}
	cases["5.1 unmasked pong"] = exchange{send: raw(0x8a, 0), close: 1002}
	cases["5.1 unmasked close"] = exchange{send: raw(0x88, 2, 0x03, 0xe8), close: 1002}
	cases["5.3 a mask of zeros"] = exchange{send: raw(0x81, 0x82, 0, 0, 0, 0, 'h', 'i'), want: echoed("hi")}
	cases["5.3 a mask of ones"] = exchange{send: raw(0x81, 0x82, 0xff, 0xff, 0xff, 0xff, 'h'^0xff, 'i'^0xff), want: echoed("hi")}
}

// Section 5.2: reserved bits and opcodes.
func reserved(cases map[string]exchange) {
	for bit := 4; bit <= 6; bit++ {
		for name, opcode := range map[string]byte{"text": opText, "binary": opBinary, "ping": opPing, "pong": opPong, "close": opClose} {
			cases[fmt.Sprintf("5.2 reserved bit %d set on %s", 7-bit, name)] = exchange{
				send: raw(0x80|1<<bit|opcode, 0x80, 1, 2, 3, 4), close: 1002}
		}
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases[fmt.Sprintf("5.2 reserved opcode %d", opcode)] = exchange{send: raw(0x80|opcode, 0x80, 1, 2, 3, 4), close: 1002}
	}
	cases["5.2 reserved opcode after a message"] = exchange{
		send: joined(append(sends(text("first")), raw(0x83, 0x80, 1, 2, 3, 4)...)), want: echoed("first"), close: 1002}
}

// Section 5.4.
func fragmentation(cases map[string]exchange) {
	cases["5.4 two fragments"] = exchange{send: sends(fragments(opText, "hel", "lo")...), want: echoed("hello")}
	cases["5.4 two fragments in one write"] = exchange{send: joined(sends(fragments(opText, "hel", "lo")...)), want: echoed("hello")}
	cases["5.4 two fragments byte by byte"] = exchange{send: oneByOne(sends(fragments(opText, "hel", "lo")...)), want: echoed("hello")}
	cases["5.4 empty fragments"] = exchange{send: sends(fragments(opText, "", "", "")...), want: echoed("")}
	cases["5.4 an empty last fragment"] = exchange{send: sends(fragments(opText, "hello", "")...), want: echoed("hello")}
	cases["5.4 an empty first fragment"] = exchange{send: sends(fragments(opText, "", "hello")...), want: echoed("hello")}
	cases["5.4 a fragment for each of 500 bytes"] = exchange{
		send: joined(sends(fragments(opText, strings.Split(strings.Repeat("z", 500), "")...)...)), want: echoed(strings.Repeat("z", 500))}
	cases["5.4 ping between fragments"] = exchange{
		send: sends(slices.Insert(fragments(opText, "hel", "lo"), 1, control(opPing, "now"))...),
		want: []frame{control(opPong, "now"), text("hello")}}
	cases["5.4 pong between fragments"] = exchange{
		send: sends(slices.Insert(fragments(opText, "hel", "lo"), 1, control(opPong, "now"))...), want: echoed("hello")}
	cases["5.4 ten pings between fragments"] = exchange{
		send: joined(sends(slices.Insert(fragments(opText, "hel", "lo"), 1, slices.Repeat([]frame{control(opPing, "")}, 10)...)...)),
		want: append(slices.Repeat([]frame{control(opPong, "")}, 10), text("hello"))}
	cases["5.4 close between fragments"] = exchange{
		send: sends(fragments(opText, "hel", "lo")[0], closing(1000, "")), close: 1000}
	cases["5.4 continuation of nothing"] = exchange{send: sends(frame{true, opContinuation, []byte("x")}), close: 1002}
	cases["5.4 unfinished continuation of nothing"] = exchange{send: sends(frame{false, opContinuation, []byte("x")}), close: 1002}
	cases["5.4 continuation after a finished message"] = exchange{
		send: sends(text("first"), frame{true, opContinuation, nil}), want: echoed("first"), close: 1002}
	cases["5.4 text inside a fragmented text"] = exchange{
		send: sends(frame{false, opText, []byte("hel")}, text("lo")), close: 1002}
	cases["5.4 binary inside a fragmented text"] = exchange{
		send: sends(frame{false, opText, []byte("hel")}, frame{true, opBinary, nil}), close: 1002}
	cases["5.4 unfinished text inside a fragmented text"] = exchange{
		send: sends(frame{false, opText, []byte("hel")}, frame{false, opText, []byte("lo")}), close: 1002}
	cases["T023 a fragmented binary message, then text"] = exchange{
		send: sends(append(fragments(opBinary, "a", "b", "c"), text("after"))...), want: echoed("after")}
	cases["5.4 two fragmented messages"] = exchange{
		send: sends(append(fragments(opText, "a", "b"), fragments(opText, "c", "d")...)...), want: echoed("ab", "cd")}
}

// Section 5.5.
func controlFrames(cases map[string]exchange) {
	for _, payload := range []string{"", "p", "hello", strings.Repeat("p", 125), "\x00\xff\xfe\x80"} {
		cases[fmt.Sprintf("T028 ping with %d bytes %.8q", len(payload), payload)] = exchange{
			send: sends(control(opPing, payload)), want: []frame{control(opPong, payload)}}
	}
	cases["5.5.2 ping byte by byte"] = exchange{send: oneByOne(sends(control(opPing, "slow"))), want: []frame{control(opPong, "slow")}}
	cases["T034 sixty pings"] = exchange{
		send: sends(slices.Repeat([]frame{control(opPing, "x")}, 60)...), want: slices.Repeat([]frame{control(opPong, "x")}, 60)}
	cases["5.5.3 a pong nobody asked for"] = exchange{send: sends(control(opPong, "hello"))}
	cases["5.5.3 a pong, then a ping"] = exchange{
		send: sends(control(opPong, "a"), control(opPing, "b")), want: []frame{control(opPong, "b")}}
	for name, opcode := range map[string]byte{"ping": opPing, "pong": opPong, "close": opClose} {
		cases["5.5 fragmented "+name] = exchange{send: sends(frame{false, opcode, nil}), close: 1002}
		cases["5.5 "+name+" of 126 bytes"] = exchange{send: sends(frame{true, opcode, make([]byte, 126)}), close: 1002}
		cases["5.5 "+name+" of 70000 bytes"] = exchange{send: sends(frame{true, opcode, make([]byte, 70000)}), close: 1002}
	}
	cases["5.5 the rest of a fragmented ping"] = exchange{
		send: sends(frame{false, opPing, nil}, frame{true, opContinuation, nil}), close: 1002}
}

// Section 8.1.
func utf8Text(cases map[string]exchange) {
	for name, valid := range map[string]string{
		"two, three and four bytes":    "κόσμε \u20ac \U0001f600",
		"first of each length":         "\x00\u0080\u0800\U00010000",
		"last of each length":          "\u007f\u07ff\uffff\U0010ffff",
		"around the surrogates":        "\ud7ff\ue000",
		"replacement, byte order mark": "\ufffd\ufeff",
		"noncharacters":                "\ufffe\uffff\U0001fffe",
	} {
		cases["8.1 "+name] = exchange{send: sends(text(valid)), want: echoed(valid)}
		cases["8.1 "+name+", a fragment for each byte"] = exchange{
			send: sends(fragments(opText, bytewise(valid)...)...), want: echoed(valid)}
	}
	for name, invalid := range map[string]string{
		"a lone continuation byte":  "ab\x80cd",
		"two continuation bytes":    "\x80\xbf",
		"a character cut short":     "κόσμ\xce",
		"three of four bytes":       "\xf0\x9f\x98",
		"a start without its rest":  "\xc3 x",
		"an overlong slash":         "\xc0\xaf",
		"an overlong NUL":           "\xc0\x80",
		"an overlong three bytes":   "\xe0\x80\xaf",
		"an overlong four bytes":    "\xf0\x80\x80\xaf",
		"a high surrogate":          "\xed\xa0\x80",
		"a low surrogate":           "\xed\xbf\xbf",
		"a pair of surrogates":      "\xed\xa0\x80\xed\xb0\x80",
		"beyond the last character": "\xf4\x90\x80\x80",
		"five bytes":                "\xf8\x88\x80\x80\x80",
		"six bytes":                 "\xfc\x84\x80\x80\x80\x80",
		"FE":                        "\xfe",
		"FF":                        "\xff",
		"valid, then not":           strings.Repeat("a", 300) + "\xff",
	} {
		cases["8.1 "+name+" is refused"] = exchange{send: sends(text(invalid)), close: 1007}
	}
	cases["8.1 a character split by a fragment that breaks it"] = exchange{
		send: sends(fragments(opText, "\xe2\x82", "x")...), close: 1007}
	cases["8.1 valid parts that are no character together"] = exchange{
		send: sends(fragments(opText, "\xed\xa0", "\x80")...), close: 1007}
	cases["8.1 binary need not be UTF-8"] = exchange{send: sends(frame{true, opBinary, []byte("\xff\xfe")})}
}

func bytewise(s string) (parts []string) {
	for i := range len(s) {
		parts = append(parts, s[i:i+1])
	}
	return parts
}

// Section 7.4.
func closeCodes(cases map[string]exchange) {
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4200, 4999} {
		cases[fmt.Sprintf("7.4 close with %d", code)] = exchange{send: sends(closing(code, "bye")), close: code}
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases[fmt.Sprintf("7.4 close with %d, which may not be sent", code)] = exchange{send: sends(closing(code, "")), close: 1002}
	}
}

// Sections 5.5.1 and 7.1.
func closeHandshake(cases map[string]exchange) {
	cases["T024 close with 1000"] = exchange{send: sends(closing(1000, "")), close: 1000}
	cases["5.5.1 close without a code"] = exchange{send: sends(control(opClose, "")), close: noCode}
	cases["5.5.1 close with the longest reason"] = exchange{send: sends(closing(1000, strings.Repeat("r", 123))), close: 1000}
	cases["5.5.1 close with a reason that is not UTF-8"] = exchange{send: sends(closing(1000, "\xff\xfe")), close: 1002}
	cases["5.5.1 close byte by byte"] = exchange{send: oneByOne(sends(closing(1000, "bye"))), close: 1000}
	cases["5.5.1 text behind a close is not read"] = exchange{
		send: joined(sends(text("before"), closing(1000, ""), text("behind"))), want: echoed("before"), close: 1000}
	cases["5.5.1 ping behind a close is not answered"] = exchange{
		send: joined(sends(closing(1000, ""), control(opPing, "x"))), close: 1000}
	cases["7.1 the server closes"] = exchange{send: sends(text("close 4200")), close: 4200}
	cases["7.1 the server closes, and ignores what is sent then"] = exchange{
		send: joined(sends(text("close 4009"), text("ignored"), control(opPing, "ignored"))), close: 4009}
}

// Section 10.4: sizes.
func limits(cases map[string]exchange) {
	over := strings.Repeat("x", maxMessage+1)
	cases["10.4 text above the limit"] = exchange{send: sends(text(over)), close: 1009}
	cases["10.4 binary above the limit"] = exchange{send: sends(frame{true, opBinary, []byte(over)}), close: 1009}
	cases["10.4 fragments above the limit"] = exchange{
		send: sends(fragments(opText, over[:maxMessage/2], over[:maxMessage/2], "x")...), close: 1009}
	cases["10.4 fragments at the limit"] = exchange{
		send: sends(fragments(opText, over[:maxMessage/2], over[:maxMessage/2])...), want: echoed(over[:maxMessage])}
	cases["10.4 binary fragments above the limit"] = exchange{
		send: sends(fragments(opBinary, over[:maxMessage/2], over[:maxMessage/2], "x")...), close: 1009}
	cases["10.4 a header that promises a gigabyte"] = exchange{
		send: raw(0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4), close: 1009}
}
