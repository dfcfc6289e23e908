package protocol

import (
	"net/url"
	"strings"
	"testing"
)

// The key and secret of the vendor's published examples.
const (
	exampleKey    = "278d425bdf160c739803"
	exampleSecret = "7ad3773142a6692b25b8"
)

func TestSubscriptionSignatures(t *testing.T) {
	channelData := func(s string) *string { return &s }
	for name, tc := range map[string]struct{ signed, want string }{
		"private":                   {ChannelString("1234.1234", "private-foobar", nil), "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"},
		"presence":                  {ChannelString("1234.1234", "presence-foobar", channelData(`{"user_id":10,"user_info":{"name":"Mr. Channels"}}`)), "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"},
		"presence, another name":    {ChannelString("1234.1234", "presence-foobar", channelData(`{"user_id":10,"user_info":{"name":"Mr. Pusher"}}`)), "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"},
		"sign-in":                   {UserString("1234.1234", `{"id":"12345"}`), "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"},
		"webhook body":              {`{"time_ms":1353088179000,"events":[{"name":"channel_occupied","channel":"test_channel"}]}`, "06f2eb530e72a1a9711d494ec6072ea3268aa851481c75994d99ea5885fabad4"},
		"empty channel_data counts": {ChannelString("1.1", "private-a", channelData("")), Sign(exampleSecret, "1.1:private-a:")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Sign(exampleSecret, tc.signed); got != tc.want {
				t.Errorf("Sign(%q) = %s, want %s", tc.signed, got, tc.want)
			}
			if !Verify(exampleSecret, tc.signed, tc.want) {
				t.Error("Verify = false")
			}
			for _, wrong := range []string{"", tc.want[1:], strings.ToUpper(tc.want), tc.want + "0", "x" + tc.want[1:]} {
				if Verify(exampleSecret, tc.signed, wrong) {
					t.Errorf("Verify(%q) = true", wrong)
				}
			}
		})
	}
}

func TestRequestSignatures(t *testing.T) {
	const common = "auth_key=" + exampleKey + "&auth_timestamp=1353088179&auth_version=1.0"
	for name, tc := range map[string]struct{ method, path, query, want string }{
		"publish": {"POST", "/apps/3/events", common + "&body_md5=ec365a775a4cd0599faeb73354201b6f",
			"da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"},
		"channels":               {"GET", "/apps/3/channels", common, "1cafa6382331c976588eb6bd3925a988e4158402be06c4626d0e97d2981f5382"},
		"channels with a prefix": {"GET", "/apps/3/channels", common + "&filter_by_prefix=presence-&info=user_count", "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291"},
		"terminate": {"POST", "/apps/3/users/12345/terminate_connections", common + "&body_md5=99914b932bd37a50b983c5e7c90ae93b",
			"01fa634edeb0cae84115307cad5c23f65a46cd286461b1c89637a3b5871a8f0e"},
	} {
		t.Run(name, func(t *testing.T) {
			pieces := strings.Split(tc.query, "&")
			for range pieces { // in whatever order they come
				pieces = append(pieces[1:], pieces[0])
				query := strings.Join(pieces, "&") + "&auth_signature=whatever"
				signed := RequestString(tc.method, tc.path, ParseQuery(query))
				if got := Sign(exampleSecret, signed); got != tc.want {
					t.Errorf("signature of %q = %s, want %s", signed, got, tc.want)
				}
			}
		})
	}
	for body, want := range map[string]string{
		"":   "d41d8cd98f00b204e9800998ecf8427e",
		"{}": "99914b932bd37a50b983c5e7c90ae93b",
		`{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`: "ec365a775a4cd0599faeb73354201b6f",
	} {
		if got := BodyMD5([]byte(body)); got != want {
			t.Errorf("BodyMD5(%s) = %s, want %s", body, got, want)
		}
	}
}

func TestRequestString(t *testing.T) {
	for name, tc := range map[string]struct{ query, want string }{
		"nothing":                         {"", "GET\n/p\n"},
		"raw, as Go, Node and PHP send":   {"info=a,b", "GET\n/p\ninfo=a,b"},
		"escaped, as Java and Ruby send":  {"info=a%2Cb", "GET\n/p\ninfo=a,b"},
		"a plus is a blank":               {"x=a+b%2Bc", "GET\n/p\nx=a b+c"},
		"keys in upper case":              {"Info=A&auth_KEY=K", "GET\n/p\nauth_key=K&info=A"},
		"the signature itself, any case":  {"a=1&AUTH_signature=zzz", "GET\n/p\na=1"},
		"arrays keep their order":         {"channels[]=b&a=1&channels%5B%5D=a", "GET\n/p\na=1&channels[]=b&channels[]=a"},
		"a value with an equals sign":     {"a=b=c", "GET\n/p\na=b=c"},
		"no value, no equals sign":        {"b=&a", "GET\n/p\na=&b="},
		"empty pieces":                    {"&a=1&&b=2&", "GET\n/p\na=1&b=2"},
		"what cannot be decoded is taken": {"a=%zz&b=%", "GET\n/p\na=%zz&b=%"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := RequestString("GET", "/p", ParseQuery(tc.query)); got != tc.want {
				t.Errorf("RequestString(%q) = %q, want %q", tc.query, got, tc.want)
			}
		})
	}
}

func TestSplitAuth(t *testing.T) {
	for auth, want := range map[string][3]string{
		"key:sig":   {"key", "sig", "ok"},
		"key:a:b":   {"key", "a:b", "ok"},
		":":         {"", "", "ok"},
		"no colon":  {"no colon", "", ""},
		"":          {"", "", ""},
		"K::user::": {"K", ":user::", "ok"},
	} {
		key, signature, ok := SplitAuth(auth)
		if key != want[0] || signature != want[1] || ok != (want[2] == "ok") {
			t.Errorf("SplitAuth(%q) = %q, %q, %t", auth, key, signature, ok)
		}
	}
}

func FuzzRequestString(f *testing.F) {
	for _, seed := range []string{"", "a=1&b=2", "info=a%2Cb", "channels[]=b&channels[]=a", "A=1&auth_signature=x", "a=%zz&=&&=b", "a+b=c+d%20e"} {
		f.Add("POST", "/apps/3/events", seed)
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		params := ParseQuery(query)
		signed := RequestString(method, path, params)
		if !strings.HasPrefix(signed, method+"\n"+path+"\n") {
			t.Fatalf("RequestString = %q", signed)
		}
		var escaped []string // a client that escapes signs the same
		for _, p := range params {
			escaped = append(escaped, url.QueryEscape(p.Key)+"="+url.QueryEscape(p.Value))
		}
		if got := RequestString(method, path, ParseQuery(strings.Join(escaped, "&"))); got != signed {
			t.Fatalf("escaped: %q, raw: %q", got, signed)
		}
		withSignature := append([]Param{{"auth_signature", "x"}}, params...)
		if got := RequestString(method, path, withSignature); got != signed {
			t.Fatalf("with a signature: %q, without: %q", got, signed)
		}
	})
}
