package upstream

import (
	"encoding/binary"

	"github.com/offramp/offramp/proxy/protocol"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	opControl      = 0x8 // this bit: a control frame
)

// maxMessage bounds a message that is read along; a longer one passes all the
// same, and is not looked at. The vendor sends no message near it.
const maxMessage = 256 << 10

// scanner reads WebSocket frames as their bytes pass by. It never fails: of
// bytes that are no frames, the peers make what they will.
type scanner struct {
	// emit is called with each complete text message and each close frame's
	// payload, unmasked. It may keep payload.
	emit func(opcode byte, payload []byte)

	head    [14]byte // of the frame that is being read
	have    int      // bytes of head that are there
	body    bool     // the head is complete
	opcode  byte
	final   bool
	masked  bool
	mask    [4]byte
	passed  int    // bytes of the payload that went by, for the mask
	left    uint64 // bytes of the payload to come
	text    bool   // the message under way is text
	skipped bool   // the message under way is too long
	message []byte
	control []byte
}

// between reports whether no frame is half through.
func (s *scanner) between() bool { return s.have == 0 }

// feed takes the next bytes.
func (s *scanner) feed(p []byte) {
	for len(p) > 0 {
		if !s.body {
			p = s.header(p)
			if !s.body {
				continue
			}
		}
		n := min(uint64(len(p)), s.left)
		s.payload(p[:n])
		p = p[n:]
		if s.left -= n; s.left == 0 {
			s.end()
		}
	}
}

// header takes a byte of a frame's head at a time, and returns the rest.
func (s *scanner) header(p []byte) []byte {
	s.head[s.have] = p[0]
	s.have++
	if s.have < 2 || s.have < s.headLength() {
		return p[1:]
	}
	s.body, s.passed = true, 0
	s.opcode, s.final = s.head[0]&0x0f, s.head[0]&0x80 != 0
	s.masked = s.head[1]&0x80 != 0
	if s.masked {
		copy(s.mask[:], s.head[s.have-4:s.have])
	}
	switch size := s.head[1] & 0x7f; size {
	case 126:
		s.left = uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		s.left = binary.BigEndian.Uint64(s.head[2:])
	default:
		s.left = uint64(size)
	}
	if s.opcode&opControl == 0 && s.opcode != opContinuation {
		s.text, s.skipped, s.message = s.opcode == opText, false, nil
	}
	if s.left == 0 {
		s.end()
	}
	return p[1:]
}

func (s *scanner) headLength() int {
	n := 2
	switch s.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if s.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// payload takes bytes of the payload; of messages that are not read along it
// keeps nothing.
func (s *scanner) payload(p []byte) {
	switch {
	case s.opcode&opControl != 0:
		if s.opcode == opClose && len(s.control)+len(p) <= 125 {
			s.control = s.unmask(s.control, p)
		}
	case !s.text || s.skipped:
	case len(s.message)+len(p) > maxMessage:
		s.skipped, s.message = true, nil
	default:
		if s.message == nil {
			s.message = make([]byte, 0, min(s.left, 4096))
		}
		s.message = s.unmask(s.message, p)
	}
	s.passed += len(p)
}

func (s *scanner) unmask(dst, p []byte) []byte {
	start := len(dst)
	dst = append(dst, p...)
	if s.masked {
		for i := range p {
			dst[start+i] ^= s.mask[(s.passed+i)&3]
		}
	}
	return dst
}

// end ends a frame, and with a final one its message.
func (s *scanner) end() {
	s.have, s.body = 0, false
	switch {
	case s.opcode == opClose:
		s.emit(opClose, s.control)
		s.control = nil
	case s.opcode&opControl != 0 || !s.final:
	default:
		if s.text && !s.skipped {
			s.emit(opText, s.message)
		}
		s.text, s.message = false, nil
	}
}

// closeCode returns what a close frame's payload says; 1005 when nothing
// (RFC 6455, section 7.1.5).
func closeCode(payload []byte) (code int, reason string) {
	if len(payload) < 2 {
		return 1005, ""
	}
	return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
}

// appendFrame appends an unmasked frame of a short payload.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	if len(payload) < 126 {
		dst = append(dst, byte(len(payload)))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(len(payload)))
	}
	return append(dst, payload...)
}

// appendClose appends what tells a client to go: the close frame, and before
// protocol 6 an event in front of it (vendor documentation: WebSocket
// protocol, version 6).
func appendClose(dst []byte, version, code int, reason string) []byte {
	if version < 6 {
		dst = appendFrame(dst, opText, protocol.AppendError(nil, &protocol.Error{Code: code, Message: reason}))
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	return appendFrame(dst, opClose, append(payload, reason...))
}
