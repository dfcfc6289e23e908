package protocol_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy/protocol"
)

func TestFields(t *testing.T) {
	tests := map[string]struct {
		object string
		want   []string
	}{
		"nothing in it":                  {`{}`, nil},
		"white space everywhere":         {" { \"a\" : 1 ,\n\"b\":\t[ 2 , 3 ] } ", []string{"a", "1", "b", "[ 2 , 3 ]"}},
		"commas and brackets in strings": {`{"a":"},{","b":{"c":"]"},"d":null}`, []string{"a", `"},{"`, "b", `{"c":"]"}`, "d", "null"}},
		"an escaped quote and key":       {`{"n\u0061me":"\"","":""}`, []string{"name", `"\""`, "", `""`}},
		"the same key twice":             {`{"a":1,"a":2}`, []string{"a", "1", "a", "2"}},
		"not an object":                  {`[1,2]`, nil},
		"not a JSON text":                {`{"a"`, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for k, v := range protocol.Fields([]byte(tc.object)) {
				got = append(got, string(k), string(v))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("Fields(%s) = %q, want %q", tc.object, got, tc.want)
			}
		})
	}
}

func TestAppendTextReadsEveryEscape(t *testing.T) {
	tests := map[string]string{
		`""`:                      "",
		`"plain"`:                 "plain",
		`"\"\\\/\b\f\n\r\t"`:      "\"\\/\b\f\n\r\t",
		`"\u00e9\u0000"`:          "é\x00",
		`"\ud83d\ude00!"`:         "😀!",
		`"\ud83d"`:                "\uFFFD",
		`"\ud83dx"`:               "\uFFFDx",
		`"\ude00\ud83d\ude00"`:    "\uFFFD😀",
		`"\ud83d\u0041"`:          "\uFFFDA",
		`"{\"hello\":\"world\"}"`: `{"hello":"world"}`,
	}
	for quoted, want := range tests {
		if got := string(protocol.AppendText(nil, []byte(quoted))); got != want {
			t.Errorf("AppendText(%s) = %q, want %q", quoted, got, want)
		}
	}
}

// FuzzScan compares what the scanner reads with what encoding/json reads.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"name":"e","data":"{\"a\":1}","channels":["a","b"]}`, `[1,[2,{"x":"]"}],"\ud83d\ude00"]`, ` { } `, `"\\\""`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !protocol.ValidJSON(raw) || !utf8.Valid(raw) {
			for k, v := range protocol.Fields(raw) {
				protocol.AppendText(nil, k)
				protocol.AppendText(nil, v)
			}
			return
		}
		var want any
		if json.Unmarshal(raw, &want) != nil {
			return
		}
		if got := read(t, protocol.Trim(raw)); !reflect.DeepEqual(got, want) {
			t.Errorf("read(%q) = %v, want %v", raw, got, want)
		}
	})
}

func read(t *testing.T, raw []byte) any {
	switch raw[0] {
	case '{':
		object := map[string]any{}
		for k, v := range protocol.Fields(raw) {
			object[string(k)] = read(t, v)
		}
		return object
	case '[':
		array := []any{}
		for v := range protocol.Elements(raw) {
			array = append(array, read(t, v))
		}
		return array
	case '"':
		return string(protocol.AppendText(nil, raw))
	}
	var scalar any
	if err := json.Unmarshal(raw, &scalar); err != nil {
		t.Fatalf("a scalar reads %q: %v", raw, err)
	}
	return scalar
}
