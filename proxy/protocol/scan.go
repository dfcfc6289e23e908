package protocol

import (
	"bytes"
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Fields yields the keys and raw values of a JSON object in order, without
// copying: both share its memory. Keys are unescaped. object must have passed
// ValidJSON; anything but an object yields nothing.
func Fields(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for member := range members(object, '{') {
			end := skipValue(member, 0)
			if end < 2 || member[0] != '"' {
				return
			}
			key := member[:end]
			if bytes.IndexByte(key, '\\') < 0 {
				key = key[1 : end-1]
			} else {
				key = AppendText(nil, key)
			}
			value := Trim(member[end:])
			if len(value) == 0 || !yield(key, Trim(value[1:])) {
				return
			}
		}
	}
}

// Elements yields the raw elements of a JSON array in order, without copying.
// array must have passed ValidJSON; anything but an array yields nothing.
func Elements(array []byte) iter.Seq[[]byte] { return members(array, '[') }

// members yields what stands between the commas of an object or array.
func members(raw []byte, open byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		raw := Trim(raw)
		if len(raw) < 2 || raw[0] != open {
			return
		}
		for rest := Trim(raw[1 : len(raw)-1]); len(rest) > 0; {
			end := skipMember(rest)
			if !yield(Trim(rest[:end])) || end == len(rest) {
				return
			}
			rest = Trim(rest[end+1:])
		}
	}
}

// skipMember returns the index of the comma that ends the first member.
func skipMember(raw []byte) int {
	i := 0
	for i < len(raw) && raw[i] != ',' {
		i = skipValue(raw, i)
	}
	return i
}

// skipValue returns the index behind the string, object or array that starts
// at i, and i+1 for any other character.
func skipValue(raw []byte, i int) int {
	for depth := 0; i < len(raw); {
		switch raw[i] {
		case '"':
			i = skipString(raw, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			i++
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

// skipString returns the index behind the string whose quote is at i.
func skipString(raw []byte, i int) int {
	for i++; ; {
		n := bytes.IndexByte(raw[i:], '"')
		if n < 0 {
			return len(raw)
		}
		i += n + 1
		if !odd(raw[:i-1]) {
			return i
		}
	}
}

// odd reports whether raw ends in an odd number of backslashes, which escape
// what follows.
func odd(raw []byte) bool {
	n := len(raw)
	for n > 0 && raw[n-1] == '\\' {
		n--
	}
	return (len(raw)-n)%2 == 1
}

// AppendText appends the text of a JSON string: the inverse of AppendString.
// quoted, quotes included, must have passed ValidJSON. Half a surrogate pair
// becomes U+FFFD.
func AppendText(dst, quoted []byte) []byte {
	if len(quoted) < 2 {
		return dst
	}
	rest := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 >= len(rest) {
			return append(dst, rest...)
		}
		dst = append(dst, rest[:i]...)
		if rest[i+1] == 'u' {
			var r rune
			r, rest = escapedRune(rest[i:])
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst, rest = append(dst, escaped(rest[i+1])), rest[i+2:]
	}
}

func escaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}

// escapedRune reads \uXXXX, or two of them that form a pair.
func escapedRune(s []byte) (rune, []byte) {
	first, rest := hexRune(s)
	if !utf16.IsSurrogate(first) {
		return first, rest
	}
	if len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
		second, after := hexRune(rest)
		if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
			return r, after
		}
	}
	return utf8.RuneError, rest
}

func hexRune(s []byte) (rune, []byte) {
	if len(s) < 6 {
		return utf8.RuneError, nil
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return utf8.RuneError, s[6:]
	}
	return rune(n), s[6:]
}
