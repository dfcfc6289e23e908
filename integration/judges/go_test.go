package judges

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/conformance"
	"github.com/offramp/offramp/integration/harness"
)

// goServer is Pusher's Go server library as judge (T234).
func goServer(t *testing.T, gateway *harness.Gateway, hooks *hooks) {
	client := &pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: gateway.Addr}
	room := "presence-go-judge"
	member := join(t, gateway, client, room, "7")
	for name, run := range map[string]func(*testing.T){
		"T234 Trigger and TriggerMulti": func(t *testing.T) {
			if err := client.Trigger("go-judge", "e", map[string]int{"n": 1}); err != nil {
				t.Error(err)
			}
			if err := client.TriggerMulti([]string{"go-judge", "go-judge-2"}, "e", "text"); err != nil {
				t.Error(err)
			}
		},
		"T234 TriggerWithParams with info": func(t *testing.T) {
			info := "user_count,subscription_count"
			got, err := client.TriggerWithParams(room, "e", 1, pusher.TriggerParams{Info: &info})
			if err != nil {
				t.Fatal(err)
			}
			if c := got.Channels[room]; c.UserCount == nil || *c.UserCount != 1 {
				t.Errorf("%s = %+v, want a user_count of 1", room, c)
			}
		},
		"T234 TriggerBatch": func(t *testing.T) {
			if _, err := client.TriggerBatch([]pusher.Event{{Channel: "a", Name: "e", Data: "1"}, {Channel: "b", Name: "e", Data: "2"}}); err != nil {
				t.Error(err)
			}
		},
		"T234 Channels": func(t *testing.T) {
			prefix, info := "presence-go-", "user_count"
			got, err := client.Channels(pusher.ChannelsParams{FilterByPrefix: &prefix, Info: &info})
			if err != nil || got.Channels[room].UserCount != 1 {
				t.Errorf("Channels = %+v, %v", got, err)
			}
		},
		"T234 Channel": func(t *testing.T) {
			info := "user_count,subscription_count"
			got, err := client.Channel(room, pusher.ChannelParams{Info: &info})
			if err != nil || !got.Occupied || got.UserCount != 1 || got.SubscriptionCount != 1 {
				t.Errorf("Channel = %+v, %v", got, err)
			}
		},
		"T234 GetChannelUsers": func(t *testing.T) {
			got, err := client.GetChannelUsers(room)
			if err != nil || len(got.List) != 1 || got.List[0].ID != "7" {
				t.Errorf("GetChannelUsers = %+v, %v", got, err)
			}
		},
		"T234 Webhook": func(t *testing.T) {
			// The library takes the events of encrypted channels for client events, and so
			// refuses a request that tells of one: another judge's may be in the same.
			room, request := "", hookRequest{}
			for n := range 5 {
				room = fmt.Sprint("presence-go-hooks-", n)
				defer join(t, gateway, client, room, "7").Close()
				request = hooks.await(t, func(r hookRequest) bool {
					return strings.Contains(r.Body, `"member_added"`) && strings.Contains(r.Body, room)
				})
				if !strings.Contains(request.Body, "private-encrypted-") {
					break
				}
			}
			header := http.Header{"X-Pusher-Key": {request.Key}, "X-Pusher-Signature": {request.Signature}}
			got, err := client.Webhook(header, []byte(request.Body))
			if err != nil {
				t.Fatalf("Webhook refuses %s: %v", request.Body, err)
			}
			if !slices.ContainsFunc(got.Events, func(e pusher.WebhookEvent) bool {
				return e.Name == "member_added" && e.Channel == room && e.UserID == "7"
			}) {
				t.Errorf("events = %+v", got.Events)
			}
			if _, err := client.Webhook(header, []byte(request.Body+" ")); err == nil {
				t.Error("a body with a byte more is accepted")
			}
		},
		"errors reach the caller": func(t *testing.T) {
			wrong := *client
			wrong.Secret = "wrong"
			if err := wrong.Trigger("c", "e", 1); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("wrong secret: %v, want status 401", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if id, _, _ := strings.Cut(name, " "); conformanceID.MatchString(id) {
				conformance.Record(t, id)
			}
			run(t)
		})
	}
	_ = member.Close()
}

// await waits for a webhook request that passes a test.
func (h *hooks) await(t *testing.T, test func(hookRequest) bool) hookRequest {
	t.Helper()
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if i := slices.IndexFunc(h.received(), test); i >= 0 {
			return h.received()[i]
		}
	}
	t.Fatal("no such webhook within 12 s")
	return hookRequest{}
}

// join puts a member on a presence channel, over a plain WebSocket, with the
// Go library's signature.
func join(t *testing.T, gateway *harness.Gateway, client *pusher.Client, room, user string) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+gateway.Addr+"/app/"+harness.Key+"?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	var established struct {
		Data string `json:"data"`
	}
	if err := conn.ReadJSON(&established); err != nil {
		t.Fatal(err)
	}
	socket := strings.Split(established.Data, `"`)[3]
	auth, err := client.AuthorizePresenceChannel([]byte("socket_id="+socket+"&channel_name="+room), pusher.MemberData{UserID: user})
	if err != nil {
		t.Fatal(err)
	}
	subscribe := `{"event":"pusher:subscribe","data":{"channel":"` + room + `",` + strings.TrimPrefix(string(auth), "{") + `}`
	if err := conn.WriteMessage(websocket.TextMessage, []byte(subscribe)); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Event string `json:"event"`
	}
	if err := conn.ReadJSON(&answer); err != nil || answer.Event != "pusher_internal:subscription_succeeded" {
		t.Fatalf("answer to the subscription = %+v, %v", answer, err)
	}
	return conn
}
