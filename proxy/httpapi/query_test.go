package httpapi_test

import (
	"testing"

	"github.com/offramp/offramp/proxy"
)

// crowd has two users on three sockets on presence-a, and one socket on c.
func crowd(t *testing.T, edit func(*proxy.App)) *gateway {
	g := open(t, edit)
	g.connect().join("presence-a", "1").join("c", "")
	g.connect().join("presence-a", "1")
	g.connect().join("presence-a", "2")
	return g
}

func TestQueries(t *testing.T) {
	g := crowd(t, nil)
	check(t, g.post(eventsPath, `{"name":"e","channel":"cache-a","data":"{\"kept\":true}"}`), 200, "{}")
	g.connect().join("cache-a", "")
	const channels = "/apps/3/channels"
	const infoText = "info should be a comma separated list of attributes, of which this request may ask: "
	tests := map[string]struct {
		path, query string
		status      int
		body        string
	}{
		"T187 channels by prefix":                  {channels, "filter_by_prefix=presence-", 200, `{"channels":{"presence-a":{}}}`},
		"channels by another prefix":               {channels, "filter_by_prefix=x", 200, `{"channels":{}}`},
		"T188 user_count of presence channels":     {channels, "filter_by_prefix=presence-&info=user_count", 200, `{"channels":{"presence-a":{"user_count":2}}}`},
		"T189 user_count of all channels":          {channels, "info=user_count", 400, "user_count may only be requested for presence channels - please supply filter_by_prefix begining with presence-\n"},
		"user_count by another prefix":             {channels, "info=user_count&filter_by_prefix=presence", 400, "user_count may only be requested for presence channels - please supply filter_by_prefix begining with presence-\n"},
		"subscription_count of channels":           {channels, "info=subscription_count", 400, infoText + "user_count\n"},
		"T190 an unoccupied channel":               {channels + "/d", "", 200, `{"occupied":false}`},
		"T191 an occupied channel":                 {channels + "/c", "", 200, `{"occupied":true}`},
		"T192 user_count of a public channel":      {channels + "/c", "info=user_count", 400, "Cannot retrieve the user count unless the channel is a presence channel\n"},
		"T193 info that does not exist":            {channels + "/c", "info=does-not-exist", 400, infoText + "user_count,subscription_count,cache\n"},
		"T194 both counts of a presence channel":   {channels + "/presence-a", "info=user_count,subscription_count", 200, `{"occupied":true,"user_count":2,"subscription_count":3}`},
		"both counts of an empty presence channel": {channels + "/presence-b", "info=user_count,subscription_count", 200, `{"occupied":false,"user_count":0,"subscription_count":0}`},
		"subscription_count of a public channel":   {channels + "/c", "info=subscription_count", 200, `{"occupied":true,"subscription_count":1}`},
		"the event of a cache channel":             {channels + "/cache-a", "info=cache", 200, `{"occupied":true,"cache":{"data":"{\"kept\":true}","ttl":1800}}`},
		"no event in a cache channel":              {channels + "/cache-b", "info=cache", 200, `{"occupied":false,"cache":null}`},
		"the event of a channel without cache":     {channels + "/c", "info=cache", 400, "Cannot retrieve the cache unless the channel is a cache channel\n"},
		"an invalid channel":                       {channels + "/a%20b", "", 400, "Invalid channel name\n"},
		"T195 users":                               {channels + "/presence-a/users", "", 200, `{"users":[{"id":"1"},{"id":"2"}]}`},
		"T196 users of an empty channel":           {channels + "/presence-b/users", "", 200, `{"users":[]}`},
		"T197 users of a public channel":           {channels + "/c/users", "", 400, "Users can only be retrieved for presence channels\n"},
		"T198 users with another parameter":        {channels + "/presence-a/users", "info=x", 400, "The following query string parameters are extraneous: info\n"},
		"users with two, one of them in two lines": {channels + "/presence-a/users", "b=1&a%0Ab=2", 400, "The following query string parameters are extraneous: a b, b\n"},
		"users of an invalid channel":              {channels + "/a%2Fb/users", "", 400, "Invalid channel name\n"},
		"stats of a presence channel":              {channels + "/presence-a/stats", "", 200, `{"occupied":true,"user_count":2,"connection_count":3}`},
		"stats of a public channel":                {channels + "/d/stats", "", 200, `{"occupied":false,"connection_count":0}`},
		"stats of an invalid channel":              {channels + "/a%20b/stats", "", 400, "Invalid channel name\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { check(t, g.get(tc.path, tc.query), tc.status, tc.body) })
	}
}

func TestT185NoChannelIsOccupied(t *testing.T) {
	check(t, open(t, nil).get("/apps/3/channels", ""), 200, `{"channels":{}}`)
}

func TestT186ChannelsInAnyOrder(t *testing.T) {
	got := crowd(t, nil).get("/apps/3/channels", "")
	if got.body != `{"channels":{"c":{},"presence-a":{}}}` && got.body != `{"channels":{"presence-a":{},"c":{}}}` {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestSubscriptionCountIsRefusedWhereItIsOff(t *testing.T) {
	g := crowd(t, func(app *proxy.App) { app.SubscriptionCounting = false })
	check(t, g.get("/apps/3/channels/c", "info=subscription_count"), 400,
		"Cannot retrieve the subscription count unless subscription counting is enabled for the app\n")
}

func TestTerminateConnections(t *testing.T) {
	for name, path := range map[string]string{
		"T199 with the app in the path": "/apps/3/users/u/terminate_connections",
		"T199 as the Python SDK does":   "/users/u/terminate_connections",
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, nil)
			one, two, other := g.connect().signin("u"), g.connect().signin("u"), g.connect().signin("v")
			member := g.connect().join("presence-a", "u") // T200
			check(t, g.post(path, "{}"), 200, "{}")
			for _, s := range []*socket{one, two} {
				if code := <-s.closed; code != 4009 {
					t.Errorf("closed with %d, want 4009", code)
				}
			}
			for _, s := range []*socket{other, member} {
				select {
				case code := <-s.closed:
					t.Errorf("another socket was closed with %d", code)
				default:
				}
			}
		})
	}
}

func TestTerminateRefusals(t *testing.T) {
	g := open(t, nil)
	check(t, g.post("/apps/3/users/nobody/terminate_connections", "{}"), 200, "{}")
	check(t, g.post("/apps/3/users//terminate_connections", "{}"), 400, "Invalid user id\n")
	check(t, g.do("POST", "/apps/3/users/u/terminate_connections", "x=1", "{}"), 400, "The following query string parameters are extraneous: x\n")
}
