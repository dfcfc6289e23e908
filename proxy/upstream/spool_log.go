package upstream

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// The log of a spool is a row of entries:
//
//	length, 4 bytes  of the body
//	check,  4 bytes  CRC-32C of the body
//	body             its kind (1 byte), the event's id (16), and of a copy:
//	                 the time (8, Unix ns), then channel, name, via and data,
//	                 each after its length (4)
//
// Numbers are big endian. Who an event is not for is not in it: clients have
// other sockets when the process is another.
const (
	entryHead  = 8
	entryFixed = 17

	kindCopy    = 'C'
	kindSettled = 'S'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendCopy(dst []byte, ev *proxy.Event) []byte {
	dst, from := beginEntry(dst, kindCopy, ev.ID)
	dst = binary.BigEndian.AppendUint64(dst, uint64(ev.At.UnixNano()))
	dst = appendText(dst, ev.Topic.Channel)
	dst = appendText(dst, ev.Name)
	dst = appendText(dst, ev.Via)
	return endEntry(appendText(dst, ev.Data), from)
}

func appendSettled(dst []byte, id proxy.EventID) []byte {
	return endEntry(beginEntry(dst, kindSettled, id))
}

func beginEntry(dst []byte, kind byte, id proxy.EventID) (entry []byte, from int) {
	from = len(dst)
	dst = append(append(dst, make([]byte, entryHead)...), kind)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, id.Node), id.Seq), from
}

func endEntry(dst []byte, from int) []byte {
	body := dst[from+entryHead:]
	binary.BigEndian.PutUint32(dst[from:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[from+4:], crc32.Checksum(body, castagnoli))
	return dst
}

func appendText[T ~string | ~[]byte](dst []byte, text T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(text))), text...)
}

// readSpoolLog returns the copies in a log that are not settled, in their
// order, and how many bytes at its end are not part of it.
func readSpoolLog(text []byte) (waiting []*proxy.Event, rest int) {
	settled := make(map[proxy.EventID]bool)
	for {
		body, after, ok := cutEntry(text)
		if !ok {
			break
		}
		id := proxy.EventID{Node: binary.BigEndian.Uint64(body[1:]), Seq: binary.BigEndian.Uint64(body[9:])}
		if body[0] == kindSettled {
			settled[id] = true
		} else if ev, ok := readCopy(id, body[entryFixed:]); ok {
			waiting = append(waiting, ev)
		} else {
			break
		}
		text = after
	}
	return slices.DeleteFunc(waiting, func(ev *proxy.Event) bool { return settled[ev.ID] }), len(text)
}

// cutEntry returns the first entry's body and what is behind it.
func cutEntry(text []byte) (body, after []byte, ok bool) {
	if len(text) < entryHead {
		return nil, nil, false
	}
	length, sum := binary.BigEndian.Uint32(text), binary.BigEndian.Uint32(text[4:])
	if text = text[entryHead:]; length < entryFixed || uint64(length) > uint64(len(text)) {
		return nil, nil, false
	}
	body, after = text[:length], text[length:]
	return body, after, crc32.Checksum(body, castagnoli) == sum
}

func readCopy(id proxy.EventID, text []byte) (ev *proxy.Event, ok bool) {
	if len(text) < 8 {
		return nil, false
	}
	at := time.Unix(0, int64(binary.BigEndian.Uint64(text)))
	text = text[8:]
	var fields [4][]byte
	for i := range fields {
		if fields[i], text, ok = cutText(text); !ok {
			return nil, false
		}
	}
	return &proxy.Event{
		ID: id, At: at, Topic: proxy.Topic{Channel: protocol.ChannelName(fields[0])}, Name: string(fields[1]), Via: string(fields[2]), Data: fields[3],
		Publisher: proxy.ByServer, Origin: proxy.LegEngine,
	}, len(text) == 0
}

func cutText(text []byte) (field, after []byte, ok bool) {
	if len(text) < 4 {
		return nil, nil, false
	}
	length := binary.BigEndian.Uint32(text)
	if text = text[4:]; uint64(length) > uint64(len(text)) {
		return nil, nil, false
	}
	return text[:length:length], text[length:], true
}
