package httpapi_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	vectorBody   = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	vectorParams = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0"
	vectorQuery  = vectorParams + "&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature="
	vectorSign   = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
)

func TestSignatureVectors(t *testing.T) {
	g := open(t, nil)
	tests := map[string]struct{ method, target, body, want string }{
		"T148 publish": {"POST", "/apps/3/events?" + vectorQuery + vectorSign, vectorBody, "{}"},
		"channels": {
			"GET", "/apps/3/channels?" + vectorParams + "&auth_signature=1cafa6382331c976588eb6bd3925a988e4158402be06c4626d0e97d2981f5382", "",
			`{"channels":{}}`,
		},
		"channels with parameters": {
			"GET", "/apps/3/channels?" + vectorParams + "&filter_by_prefix=presence-&info=user_count&auth_signature=16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291", "",
			`{"channels":{}}`,
		},
		"terminate": {
			"POST", "/apps/3/users/12345/terminate_connections?" + vectorParams + "&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=01fa634edeb0cae84115307cad5c23f65a46cd286461b1c89637a3b5871a8f0e", "{}",
			"{}",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := g.raw(tc.method, tc.target, tc.body)
			check(t, got, 200, tc.want)
			if got.contentType != "application/json" {
				t.Errorf("content type %q", got.contentType)
			}
		})
	}
}

func TestSignatureRefusals(t *testing.T) {
	other := proxy.Defaults()
	other.ID = "4"
	other.Credentials = []proxy.Credential{{Key: "other-key", Secret: proxy.NewSecret("other-secret")}}
	g := open(t, nil, &other)
	const path = "/apps/3/events"
	at := func(ts string) string { return strings.Replace(vectorParams, strconv.Itoa(frozen), ts, 1) }
	md5 := "&body_md5=" + protocol.BodyMD5([]byte(vectorBody))
	sealed := func(params string) string { return seal(testSecret, "POST", path, params) }
	const expired = "Timestamp expired: Given timestamp (%s) not within 600s of server time (2012-11-16T17:49:39Z)\n"
	tests := map[string]struct {
		target, body string
		status       int
		text         string
	}{
		"T149 one character of the signature changed": {
			path + "?" + vectorQuery + "e" + vectorSign[1:], vectorBody, 401,
			`Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\n` + vectorParams +
				`&body_md5=ec365a775a4cd0599faeb73354201b6f", your_secret_key), but you sent "e` + vectorSign[1:] + `"` + "\n",
		},
		"the signature in upper case": {
			path + "?" + vectorQuery + strings.ToUpper(vectorSign), vectorBody, 401,
			`Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\n` + vectorParams +
				`&body_md5=ec365a775a4cd0599faeb73354201b6f", your_secret_key), but you sent "` + strings.ToUpper(vectorSign) + `"` + "\n",
		},
		"no signature": {
			path + "?" + vectorParams, "", 401,
			`Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\n` + vectorParams + `", your_secret_key), but you sent nil` + "\n",
		},
		"a line break in the signature": {
			path + "?" + vectorParams + "&auth_signature=a%0Ab", "", 401,
			`Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\n` + vectorParams + `", your_secret_key), but you sent "a\nb"` + "\n",
		},
		"T150 599 s old":                      {sealed(at("1353087580") + md5), vectorBody, 200, "{}"},
		"T150 599 s ahead":                    {sealed(at("1353088778") + md5), vectorBody, 200, "{}"},
		"T150 a fraction of a second":         {sealed(at("1353088179.5x") + md5), vectorBody, 200, "{}"},
		"T151 600 s old":                      {sealed(at("1353087579") + md5), vectorBody, 401, fmt.Sprintf(expired, "2012-11-16T17:39:39Z")},
		"T151 600 s ahead":                    {sealed(at("1353088779") + md5), vectorBody, 401, fmt.Sprintf(expired, "2012-11-16T17:59:39Z")},
		"a timestamp that is no number":       {sealed(at("now") + md5), vectorBody, 401, fmt.Sprintf(expired, "1970-01-01T00:00:00Z")},
		"a timestamp beyond any calendar":     {sealed(at(strings.Repeat("9", 99)) + md5), vectorBody, 401, fmt.Sprintf(expired, "9999-12-31T23:59:59Z")},
		"no timestamp":                        {sealed("auth_key=" + testKey + "&auth_version=1.0"), "", 401, "Timestamp required\n"},
		"T152 no auth_key":                    {sealed("auth_timestamp=1353088179&auth_version=1.0" + md5), vectorBody, 400, "Missing parameter: auth_key\n"},
		"T152 no query at all":                {path, vectorBody, 400, "Missing parameter: auth_key\n"},
		"T153 an unknown auth_key":            {sealed("auth_key=nobody&auth_timestamp=1353088179&auth_version=1.0" + md5), vectorBody, 400, "Unknown auth_key\n"},
		"no auth_version":                     {sealed("auth_key=" + testKey + "&auth_timestamp=1353088179" + md5), vectorBody, 401, "Version required\n"},
		"T154 another auth_version":           {sealed(strings.Replace(vectorParams, "1.0", "2.0", 1) + md5), vectorBody, 401, "Version not supported\n"},
		"T155 the body changed after signing": {path + "?" + vectorQuery + vectorSign, strings.Replace(vectorBody, "foo", "bar", 1), 401, "Invalid body_md5: it is not the MD5 hex digest of the request body\n"},
		"T155 the body removed after signing": {path + "?" + vectorQuery + vectorSign, "", 401, "Invalid body_md5: it is not the MD5 hex digest of the request body\n"},
		"T155 a body that is not even JSON":   {path + "?" + vectorQuery + vectorSign, "{{{", 401, "Invalid body_md5: it is not the MD5 hex digest of the request body\n"},
		"a body_md5 with more behind it":      {sealed(vectorParams + md5 + "00"), vectorBody, 401, "Invalid body_md5: it is not the MD5 hex digest of the request body\n"},
		"T156 a body without body_md5":        {sealed(vectorParams), vectorBody, 401, "Missing parameter: body_md5\n"},
		"T161 the key of another app": {
			seal("other-secret", "POST", path, strings.Replace(vectorParams, testKey, "other-key", 1)+md5), vectorBody, 401,
			"Invalid auth_key: it does not belong to the app of this path\n",
		},
		"T161 an app that does not exist": {seal(testSecret, "POST", "/apps/5/events", vectorParams+md5), vectorBody, 401, "Invalid auth_key: it does not belong to the app of this path\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := g.raw("POST", tc.target, tc.body)
			check(t, got, tc.status, tc.text)
			if strings.Contains(got.body, testSecret) {
				t.Error("the answer holds the secret")
			}
		})
	}
}

// TestSDKQueryStrings sends what server SDKs put on the wire. All of them sign
// the unescaped values.
func TestSDKQueryStrings(t *testing.T) {
	g := open(t, nil)
	g.connect().join("presence-a=b,c", "1")
	const state = `{"occupied":true,"user_count":1,"subscription_count":1}`
	at := func(path string) func(params string) string {
		return func(params string) string { return seal(testSecret, "GET", path, params) }
	}
	channel := at("/apps/3/channels/presence-a=b,c")
	tests := map[string]struct{ target, want string }{
		"T157 body_md5 of nothing on GET": {at("/apps/3/channels")(vectorParams + "&body_md5=d41d8cd98f00b204e9800998ecf8427e"), `{"channels":{"presence-a=b,c":{}}}`},
		"T158 unescaped values":           {channel(vectorParams + "&info=user_count,subscription_count"), state},
		"T159 escaped values":             {channel(vectorParams + "&info=user_count%2Csubscription_count"), state},
		"a space as plus":                 {channel(vectorParams + "&info=user_count,+subscription_count"), state},
		"T160 upper case in keys":         {channel(strings.Replace(vectorParams, "auth_key", "Auth_Key", 1) + "&INFO=user_count,subscription_count"), state},
		"T162 parameters out of order":    {channel("info=user_count,subscription_count&auth_version=1.0&auth_timestamp=1353088179&auth_key=" + testKey), state},
		"an escaped path, signed raw":     {at("/apps/3/channels/presence-a%3Db%2Cc")(vectorParams + "&info=user_count,subscription_count"), state},
		"an escaped path, signed escaped": {
			"/apps/3/channels/presence-a%3Db%2Cc?" + vectorParams + "&auth_signature=" +
				protocol.Sign(testSecret, "GET\n/apps/3/channels/presence-a%3Db%2Cc\n"+vectorParams),
			`{"occupied":true}`,
		},
		"an absolute target":           {"http://api.example.com" + channel(vectorParams), `{"occupied":true}`},
		"parameters that mean nothing": {channel(vectorParams + "&x=1&y[]=2&y[]=1&&z"), `{"occupied":true}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { check(t, g.raw("GET", tc.target, ""), 200, tc.want) })
	}
}

func TestEveryCredentialOfAnAppIsValid(t *testing.T) {
	g := open(t, func(app *proxy.App) {
		app.Credentials = append(app.Credentials, proxy.Credential{Key: "second", Secret: proxy.NewSecret("s2")})
	})
	params := strings.Replace(vectorParams, testKey, "second", 1)
	check(t, g.raw("GET", seal("s2", "GET", "/apps/3/channels", params), ""), 200, `{"channels":{}}`)
	if got := g.raw("GET", seal(testSecret, "GET", "/apps/3/channels", params), ""); got.status != 401 {
		t.Errorf("with the other credential's secret: %d %s, want 401", got.status, got.body)
	}
}
