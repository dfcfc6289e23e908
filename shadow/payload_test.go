package shadow

import "testing"

func TestSignature(t *testing.T) {
	tests := map[string]struct{ a, b, want string }{
		"same bytes":                       {`{"a":1}`, `{"a":1}`, ""},
		"members in another order, spaces": {`{"a":1,"b":[1,2]}`, ` { "b" : [1, 2], "a": 1 }`, ""},
		"numbers in another notation":      {`[1,1.50,100]`, `[1.0,1.5,1e2]`, ""},
		"long numbers are compared as written": {
			`12345678901234567890`, `12345678901234567891`, "(all)",
		},
		"escapes":                  {`"ä"`, `"\u00e4"`, ""},
		"one value":                {`{"a":1,"b":2}`, `{"a":1,"b":3}`, "b"},
		"a member is gone":         {`{"a":1,"b":2}`, `{"a":1}`, "b"},
		"a member is new":          {`{"a":1}`, `{"a":1,"b":2}`, "b"},
		"nested, several":          {`{"u":{"n":"x","i":1},"t":5}`, `{"u":{"n":"y","i":1},"t":6}`, "t,u.n"},
		"within arrays":            {`{"l":[{"a":1},{"a":2}]}`, `{"l":[{"a":3},{"a":4}]}`, "l[].a"},
		"an array of other length": {`{"l":[1]}`, `{"l":[1,2]}`, "l"},
		"string against number":    {`{"a":"1"}`, `{"a":1}`, "a"},
		"string against object":    {`{"a":"{}"}`, `{"a":{}}`, "a"},
		"null against absent":      {`{"a":null}`, `{}`, "a"},
		"not JSON":                 {`hello`, `{"a":1}`, "(not JSON)"},
		"two values":               {`1 2`, `1`, "(not JSON)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := signature([]byte(tc.a), []byte(tc.b)); got != tc.want {
				t.Errorf("signature(%s, %s) = %q, want %q", tc.a, tc.b, got, tc.want)
			}
			if forth, back := signature([]byte(tc.a), []byte(tc.b)), signature([]byte(tc.b), []byte(tc.a)); forth != back {
				t.Errorf("signature is %q one way and %q the other", forth, back)
			}
		})
	}
	if got := signature(nil, []byte("1")); got != notKept {
		t.Errorf("signature without a payload = %q, want %q", got, notKept)
	}
}

func FuzzSignature(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`), []byte(`{"a":[1.0,{"b":false}]}`))
	f.Add([]byte(`"x"`), []byte(`{`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if forth, back := signature(a, b), signature(b, a); forth != back {
			t.Errorf("signature is %q one way and %q the other", forth, back)
		}
		if _, ok := parse(a); ok && signature(a, a) != "" {
			t.Errorf("%q differs from itself: %q", a, signature(a, a))
		}
	})
}
