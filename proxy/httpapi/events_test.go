package httpapi_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
)

const eventsPath = "/apps/3/events"

// wide returns a JSON string of n bytes of text, written in two-byte
// characters, so that counting characters would pass twice as many.
func wide(n int) string { return strconv.Quote(strings.Repeat("é", n/2) + strings.Repeat("x", n%2)) }

func TestEventsAreDelivered(t *testing.T) {
	tests := map[string]struct {
		body string
		want []string
	}{
		"T163 channels":                    {`{"name":"e","channels":["c"],"data":"{\"a\":1}"}`, []string{`e c {"a":1}`}},
		"T164 channel":                     {`{"name":"e","channel":"c","data":"{}"}`, []string{"e c {}"}},
		"T165 data that is not JSON":       {`{"name":"e","channel":"c","data":"hello"}`, []string{"e c hello"}},
		"T166 an event name of Laravel's":  {`{"name":"App\\Events\\X","channel":"c","data":"1"}`, []string{`App\Events\X c 1`}},
		"T168 an unknown socket_id":        {`{"name":"e","channel":"c","data":"1","socket_id":"1.1"}`, []string{"e c 1"}},
		"an empty socket_id":               {`{"name":"e","channel":"c","data":"1","socket_id":""}`, []string{"e c 1"}},
		"every parameter null but three":   {`{"name":"e","channels":["c"],"channel":null,"data":"1","socket_id":null,"info":null}`, []string{"e c 1"}},
		"both channel and channels":        {`{"name":"e","channels":["c"],"channel":"d","data":"1"}`, []string{"e c 1"}},
		"one channel twice":                {`{"name":"e","channels":["c","c"],"data":"1"}`, []string{"e c 1"}},
		"data that is an object":           {`{"name":"e","channel":"c","data":{"a": [1,"x"]}}`, []string{`e c {"a": [1,"x"]}`}},
		"data that is a number":            {`{"name":"e","channel":"c","data":1.50}`, []string{"e c 1.50"}},
		"data that is empty":               {`{"name":"e","channel":"c","data":""}`, []string{"e c "}},
		"a client event from the server":   {`{"name":"client-e","channel":"c","data":"1"}`, []string{"client-e c 1"}},
		"an escaped key and channel":       {`{"n\u0061me":"e","channel":"\u0063","data":"\ud83d\ude00"}`, []string{"e c 😀"}},
		"parameters that mean nothing":     {` {"name":"e","channel":"c","data":"1","x":{"y":[]}} `, []string{"e c 1"}},
		"the last of two of one name":      {`{"name":"d","name":"e","channel":"c","data":"1"}`, []string{"e c 1"}},
		"a name of 200 characters":         {`{"name":"` + strings.Repeat("é", 200) + `","channel":"c","data":"1"}`, []string{strings.Repeat("é", 200) + " c 1"}},
		"T171 data of 10240 bytes":         {`{"name":"e","channel":"c","data":` + wide(10240) + `}`, []string{"e c " + strings.Repeat("é", 5120)}},
		"data of 10240 bytes, all escaped": {`{"name":"e","channel":"c","data":"` + strings.Repeat(`\u0061`, 10240) + `"}`, []string{"e c " + strings.Repeat("a", 10240)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := open(t, nil)
			s := g.connect().join("c", "")
			check(t, g.post(eventsPath, tc.body), 200, "{}")
			if got := g.events(s, "c"); !slices.Equal(got, tc.want) {
				t.Errorf("delivered %q, want %q", got, tc.want)
			}
		})
	}
}

func TestT167AnEventSkipsItsSocketID(t *testing.T) {
	g := open(t, nil)
	a, b := g.connect().join("c", ""), g.connect().join("c", "")
	check(t, g.post(eventsPath, fmt.Sprintf(`{"name":"e","channel":"c","data":"1","socket_id":%q}`, a.conn.SocketID())), 200, "{}")
	g.events(a, "c") // ends at the first "end", that of this call
	if got := g.events(b, "c"); !slices.Equal(got, []string{"e c 1"}) {
		t.Errorf("the other socket got %q", got)
	}
}

func TestT169AnEventReachesEachOf100Channels(t *testing.T) {
	g := open(t, nil)
	s := g.connect()
	var names, want []string
	for i := range 100 {
		name := fmt.Sprintf("c%d", i)
		s.join(name, "")
		names, want = append(names, strconv.Quote(name)), append(want, "e "+name+" 1")
	}
	check(t, g.post(eventsPath, `{"name":"e","data":"1","channels":[`+strings.Join(names, ",")+`]}`), 200, "{}")
	var got []string
	for range want {
		got = append(got, short(s.await("e")))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("delivered %q", got)
	}
}

func TestEventsMayComeInTheQuery(t *testing.T) {
	g := open(t, nil)
	c, d := g.connect().join("c", ""), g.connect().join("d", "")
	check(t, g.do("POST", eventsPath, "name=e&data=%7B%7D&channels[]=c&channels[]=d", ""), 200, "{}")
	check(t, g.do("POST", eventsPath, "name=f&data=lost&channel=c", `{"data":"1"}`), 200, "{}")
	if got, want := g.events(c, "c"), []string{"e c {}", "f c 1"}; !slices.Equal(got, want) {
		t.Errorf("delivered on c %q, want %q", got, want)
	}
	if got, want := g.events(d, "d"), []string{"e d {}"}; !slices.Equal(got, want) {
		t.Errorf("delivered on d %q, want %q", got, want)
	}
}

// refusals of an event, for /events and, with one channel, for /batch_events.
var refusals = map[string]struct {
	event  string
	status int
	text   string
}{
	"T172 data of 10241 bytes": {
		`{"name":"e","channel":"c","data":` + wide(10241) + `}`, 413,
		"The data content of this event exceeds the allowed maximum (10240 bytes). See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info\n",
	},
	"an object of more than 10240 bytes": {
		`{"name":"e","channel":"c","data":[` + wide(10239) + `]}`, 413,
		"The data content of this event exceeds the allowed maximum (10240 bytes). See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info\n",
	},
	"T173 no channel":                {`{"name":"e","data":"1"}`, 400, "Missing required parameter: channel\n"},
	"T174 a numeric name":            {`{"name":1,"channel":"c","data":"1"}`, 400, "Expected name parameter to be a string\n"},
	"T175 a space in a channel":      {`{"name":"e","channel":"a b","data":"1"}`, 400, "Invalid channel name\n"},
	"an empty channel":               {`{"name":"e","channel":"","data":"1"}`, 400, "Invalid channel name\n"},
	"a channel of 165 characters":    {`{"name":"e","channel":"` + strings.Repeat("c", 165) + `","data":"1"}`, 400, "Invalid channel name\n"},
	"a numeric channel":              {`{"name":"e","channel":1,"data":"1"}`, 400, "Expected channel parameter to be a string\n"},
	"no name":                        {`{"channel":"c","data":"1"}`, 400, "Missing required parameter: name\n"},
	"an empty name":                  {`{"name":"","channel":"c","data":"1"}`, 400, "Missing required parameter: name\n"},
	"a name of 201 characters":       {`{"name":"` + strings.Repeat("é", 201) + `","channel":"c","data":"1"}`, 400, "Event name exceeds the allowed maximum (200 characters)\n"},
	"a name of the protocol's":       {`{"name":"pusher:error","channel":"c","data":"1"}`, 400, "Invalid event name: the prefixes pusher: and pusher_internal: are reserved\n"},
	"an internal name, escaped":      {`{"name":"pusher\u005finternal:member_added","channel":"c","data":"1"}`, 400, "Invalid event name: the prefixes pusher: and pusher_internal: are reserved\n"},
	"no data":                        {`{"name":"e","channel":"c"}`, 400, "Missing required parameter: data\n"},
	"data null":                      {`{"name":"e","channel":"c","data":null}`, 400, "Missing required parameter: data\n"},
	"a socket_id of another form":    {`{"name":"e","channel":"c","data":"1","socket_id":"12:34"}`, 400, "Invalid socket_id: expected the form 123.456\n"},
	"a numeric socket_id":            {`{"name":"e","channel":"c","data":"1","socket_id":12.34}`, 400, "Expected socket_id parameter to be a string\n"},
	"info of an unknown attribute":   {`{"name":"e","channel":"c","data":"1","info":"user_count,x"}`, 400, "info should be a comma separated list of attributes, of which this request may ask: user_count,subscription_count\n"},
	"info that a publish cannot ask": {`{"name":"e","channel":"c","data":"1","info":"cache"}`, 400, "info should be a comma separated list of attributes, of which this request may ask: user_count,subscription_count\n"},
	"info as an array":               {`{"name":"e","channel":"c","data":"1","info":["user_count"]}`, 400, "info should be a comma separated list of attributes, of which this request may ask: user_count,subscription_count\n"},
}

func TestEventRefusals(t *testing.T) {
	g := open(t, nil)
	s := g.connect().join("c", "")
	for name, tc := range refusals {
		t.Run(name, func(t *testing.T) {
			check(t, g.post(eventsPath, tc.event), tc.status, tc.text)
		})
	}
	if got := g.events(s, "c"); got != nil {
		t.Errorf("delivered %q", got)
	}
}

func TestEventChannelRefusals(t *testing.T) {
	g := open(t, nil)
	s := g.connect().join("c", "")
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"c",`, n), ",") }
	tests := map[string]struct{ channels, text string }{
		"T170 101 channels":          {"[" + list(101) + "]", "Too many channels (101 > 100)\n"},
		"no channel in the list":     {"[]", "Missing required parameter: channel\n"},
		"a list that is a string":    {`"c"`, "Expected channels parameter to be an array of strings\n"},
		"a number in the list":       {`["c",1]`, "Expected channels parameter to be an array of strings\n"},
		"one invalid name in 3":      {`["c","a b","c"]`, "Invalid channel name\n"},
		"an encrypted one among two": {`["c","private-encrypted-x"]`, "An event cannot be published to several channels when one of them is encrypted\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			check(t, g.post(eventsPath, `{"name":"e","data":"1","channels":`+tc.channels+`}`), 400, tc.text)
		})
	}
	if got := g.events(s, "c"); got != nil {
		t.Errorf("delivered %q", got)
	}
}

func TestBodiesThatAreNoJSONObject(t *testing.T) {
	g := open(t, nil)
	for name, body := range map[string]string{
		"an array": `[]`, "a string": `"x"`, "cut off": `{"name":"e"`, "more behind": `{} {}`, "white space only": " ",
		"not UTF-8":   "{\"name\":\"\xff\"}",
		"10,000 deep": `{"name":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{eventsPath, "/apps/3/batch_events"} {
				check(t, g.post(path, body), 400, "Invalid JSON: the request body must be a JSON object in UTF-8\n")
			}
		})
	}
}

func TestEventsInfo(t *testing.T) {
	g := open(t, nil)
	g.connect().join("presence-x", "1").join("c", "")
	g.connect().join("presence-x", "1")
	g.connect().join("presence-x", "2")
	publish := func(info string) answer {
		return g.post(eventsPath, `{"name":"e","data":"1","channels":["presence-x","c","c","empty"],"info":"`+info+`"}`)
	}
	check(t, publish("subscription_count,user_count"), 200,
		`{"channels":{"presence-x":{"user_count":2,"subscription_count":3},"c":{"subscription_count":1},"empty":{"subscription_count":0}}}`)
	check(t, publish(" user_count ,"), 200, `{"channels":{"presence-x":{"user_count":2},"c":{},"empty":{}}}`)
	check(t, publish(""), 200, `{}`)
	check(t, g.post(eventsPath, `{"name":"e","data":"1","channel":"presence-empty","info":"user_count,subscription_count"}`), 200,
		`{"channels":{"presence-empty":{"user_count":0,"subscription_count":0}}}`)
}

func TestEventsInfoWithoutSubscriptionCounting(t *testing.T) {
	g := open(t, func(app *proxy.App) { app.SubscriptionCounting = false })
	check(t, g.post(eventsPath, `{"name":"e","data":"1","channel":"presence-x","info":"user_count,subscription_count"}`), 200,
		`{"channels":{"presence-x":{"user_count":0}}}`)
}

func TestT184LegacyEvents(t *testing.T) {
	g := open(t, nil)
	s := g.connect().join("c", "")
	const path = "/apps/3/channels/c/events"
	check(t, g.do("POST", path, "name=E", "raw, not JSON"), 202, "")
	check(t, g.do("POST", path, "name=E&socket_id="+string(s.conn.SocketID()), "skipped"), 202, "")
	tests := map[string]struct {
		path, query, body string
		status            int
		text              string
	}{
		"no name":                  {path, "", "x", 400, "Missing required parameter: name\n"},
		"a name of the protocol's": {path, "name=pusher:x", "x", 400, "Invalid event name: the prefixes pusher: and pusher_internal: are reserved\n"},
		"an invalid channel":       {"/apps/3/channels/a%20b/events", "name=E", "x", 400, "Invalid channel name\n"},
		"an invalid socket_id":     {path, "name=E&socket_id=x", "x", 400, "Invalid socket_id: expected the form 123.456\n"},
		"a body that is not UTF-8": {path, "name=E", "\xff", 400, "Invalid body: the request body must be UTF-8\n"},
		"a body of 10241 bytes": {path, "name=E", strings.Repeat("x", 10241), 413,
			"The data content of this event exceeds the allowed maximum (10240 bytes). See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { check(t, g.do("POST", tc.path, tc.query, tc.body), tc.status, tc.text) })
	}
	if got := g.events(s, "c"); !slices.Equal(got, []string{"E c raw, not JSON"}) {
		t.Errorf("delivered %q", got)
	}
}
