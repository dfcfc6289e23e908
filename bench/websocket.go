package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	finBit  = 0x80
	maskBit = 0x80
)

// appendFrame appends one masked client frame (RFC 6455, section 5.3).
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, finBit|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, maskBit|byte(n))
	case n < 1<<16:
		dst = append(dst, maskBit|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, maskBit|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], rand.Uint32())
	dst = append(dst, mask[:]...)
	for i, b := range payload {
		dst = append(dst, b^mask[i&3])
	}
	return dst
}

var errFraming = errors.New("bench: server sent a frame the generator does not accept")

// nextFrame splits the first whole frame off b. A frame that is not whole
// yet has size 0. Fragments and compressed frames are errors: no server
// under test may send them to a client that offered no extension.
func nextFrame(b []byte) (opcode byte, payload []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	opcode = b[0] & 0x0f
	if b[0]&0xf0 != finBit || b[1]&maskBit != 0 || opcode == opContinuation {
		return 0, nil, 0, fmt.Errorf("%w: header %#x %#x", errFraming, b[0], b[1])
	}
	head, length := 2, uint64(b[1])
	switch {
	case length == 126 && len(b) >= 4:
		head, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127 && len(b) >= 10:
		head, length = 10, binary.BigEndian.Uint64(b[2:])
	case length >= 126:
		return 0, nil, 0, nil
	}
	if length > readBuffer/2 {
		return 0, nil, 0, fmt.Errorf("%w: %d bytes", errFraming, length)
	}
	if uint64(len(b)-head) < length {
		return 0, nil, 0, nil
	}
	size = head + int(length)
	return opcode, b[head:size], size, nil
}
