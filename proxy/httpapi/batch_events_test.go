package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const batchPath = "/apps/3/batch_events"

func batchOf(events ...string) string { return `{"batch":[` + strings.Join(events, ",") + `]}` }

func TestT179ABatchIsDeliveredInOrder(t *testing.T) {
	g := open(t, nil)
	s := g.connect().join("c", "")
	var events, want []string
	for i := range 10 {
		events = append(events, fmt.Sprintf(`{"name":"e%d","channel":"c","data":"%d"}`, i, i))
		want = append(want, fmt.Sprintf("e%d c %d", i, i))
	}
	check(t, g.post(batchPath, batchOf(events...)), 200, "{}")
	if got := g.events(s, "c"); !slices.Equal(got, want) {
		t.Errorf("delivered %q, want %q", got, want)
	}
}

func TestT167ABatchSkipsEachEventsSocketID(t *testing.T) {
	g := open(t, nil)
	s := g.connect().join("c", "")
	skip := fmt.Sprintf(`{"name":"e","channel":"c","data":"1","socket_id":%q}`, s.conn.SocketID())
	check(t, g.post(batchPath, batchOf(skip, `{"name":"f","channel":"c","data":"2"}`)), 200, "{}")
	if got := g.events(s, "c"); !slices.Equal(got, []string{"f c 2"}) {
		t.Errorf("delivered %q", got)
	}
}

func TestT181OneOfABatchAsksForInfo(t *testing.T) {
	g := open(t, nil)
	g.connect().join("c", "").join("presence-x", "1")
	plain := `{"name":"e","channel":"d","data":"1"}`
	check(t, g.post(batchPath, batchOf(plain, `{"name":"e","channel":"c","data":"1","info":"subscription_count"}`, plain)), 200,
		`{"batch":[{},{"subscription_count":1},{}]}`)
	check(t, g.post(batchPath, batchOf(
		`{"name":"e","channel":"c","data":"1","info":"user_count"}`,
		`{"name":"e","channel":"presence-x","data":"1","info":"user_count,subscription_count"}`)), 200,
		`{"batch":[{},{"user_count":1,"subscription_count":1}]}`)
}

// TestBatchRefusals puts every event that is refused by itself behind one that
// is not: nothing of the batch may be published.
func TestBatchRefusals(t *testing.T) {
	g := open(t, nil)
	s := g.connect().join("c", "")
	good := `{"name":"good","channel":"c","data":"1"}`
	for name, tc := range refusals {
		t.Run("T182 "+name, func(t *testing.T) {
			check(t, g.post(batchPath, batchOf(good, tc.event)), tc.status, tc.text)
		})
	}
	tests := map[string]struct{ body, text string }{
		"T180 11 events": {batchOf(slices.Repeat([]string{good}, 11)...), "Batch too large (11 > 10)\n"},
		"no event":       {batchOf(), "Batch is empty: send 1 to 10 events\n"},
		"no batch":       {`{}`, "Missing required parameter: batch\n"},
		"batch null":     {`{"batch":null}`, "Missing required parameter: batch\n"},
		"no list":        {`{"batch":{}}`, "Expected batch parameter to be an array of objects\n"},
		"no object":      {batchOf(good, `"x"`), "Expected batch parameter to be an array of objects\n"},
		"channels":       {batchOf(`{"name":"e","channels":["c"],"data":"1"}`), "Missing required parameter: channel\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { check(t, g.post(batchPath, tc.body), 400, tc.text) })
	}
	if got := g.events(s, "c"); got != nil {
		t.Errorf("delivered %q", got)
	}
}
