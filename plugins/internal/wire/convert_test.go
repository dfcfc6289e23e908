package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

// travel sends a message through its encoded form.
func travel[M proto.Message](t *testing.T, m M, into M) M {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
	return into
}

// perField returns the zero value and one value per field, each with only that
// field set to what fill says, so that a conversion that forgets or mixes up a
// field fails by its name.
func perField[T any](t *testing.T, full T) map[string]T {
	t.Helper()
	var zero T
	cases := map[string]T{"zero value": zero, "all fields": full}
	source := reflect.ValueOf(full)
	for i := range source.NumField() {
		if source.Field(i).IsZero() {
			t.Fatalf("the case of all fields leaves %s unset", source.Type().Field(i).Name)
		}
		var one T
		reflect.ValueOf(&one).Elem().Field(i).Set(source.Field(i))
		cases[source.Type().Field(i).Name] = one
	}
	return cases
}

func TestEnvelope(t *testing.T) {
	for name, want := range perField(t, translators.Envelope{
		ID: proxy.EventID{Node: 1 << 63, Seq: 2}, App: "app", Channel: "private-x", Event: "e", Data: []byte("\x00\xff"), UserID: "u",
		Except: "1.2", Kind: translators.KindProbe, Lane: 3, Seq: 4, Origin: "o", Hops: 5, Ingress: time.Unix(6, 7),
		Deadline: time.Unix(8, 9), Attrs: map[string]string{"k": "v"},
	}) {
		t.Run(name, func(t *testing.T) {
			got := wire.ToEnvelope(travel(t, wire.FromEnvelope(want), &wire.Envelope{}))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	t.Run("an id of another length is none", func(t *testing.T) {
		if got := wire.ToEnvelope(&wire.Envelope{MirrorId: []byte{1}}); !got.ID.IsZero() {
			t.Errorf("id %s, want none", got.ID)
		}
	})
}

func TestResult(t *testing.T) {
	for _, code := range translators.Codes() {
		want := translators.Result{Code: code, NativeID: "n", Detail: "d", RetryAfter: 1500 * time.Millisecond}
		if got := wire.ToResult(travel(t, wire.FromResult(want), &wire.Result{})); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if text := wire.Code(code).String(); text != code.String() && text != "CODE_"+code.String() {
			t.Errorf("code %s is %s on the wire", code, text)
		}
	}
	for _, unknown := range []wire.Code{wire.Code_CODE_UNSPECIFIED, wire.Code_FATAL + 1, -1, 257} {
		if got := wire.ToResult(&wire.Result{Code: unknown}).Code; got != translators.CodeUnsupported {
			t.Errorf("code %d became %s, want UNSUPPORTED", unknown, got)
		}
	}
}

func TestState(t *testing.T) {
	for name, want := range perField(t, translators.ChannelState{
		State: translators.StateGap, From: time.Unix(1, 2), To: time.Unix(3, 4), Detail: "d",
	}) {
		t.Run(name, func(t *testing.T) {
			channel, got := wire.ToState(travel(t, wire.FromState("c", want), &wire.ChannelState{}))
			if got != want || channel != "c" {
				t.Errorf("got %s %+v, want c %+v", channel, got, want)
			}
		})
	}
	if _, got := wire.ToState(&wire.ChannelState{State: wire.State_ERROR + 1}); got.State != translators.StateError {
		t.Errorf("an unknown state became %s, want ERROR", got.State)
	}
}

func TestLimits(t *testing.T) {
	for name, want := range perField(t, translators.Limits{
		PayloadBytes: 1, ChannelNameBytes: 2, EventNameBytes: 3, Channels: 4, PublishesPerSecond: 5.5, PerChannelPerSecond: 6.5, PresenceMembers: 7,
	}) {
		t.Run(name, func(t *testing.T) {
			got := wire.ToLimits(travel(t, &wire.OpenResponse{Limits: wire.FromLimits(want)}, &wire.OpenResponse{}).GetLimits())
			if got == nil || *got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if got := wire.ToLimits((&wire.OpenResponse{}).GetLimits()); got != nil {
		t.Errorf("limits that were not said became %+v", got)
	}
}

type config struct {
	URL string `setting:"url,required" doc:"Where."`
	N   int    `setting:"n" default:"3" min:"1"`
}

func TestDescription(t *testing.T) {
	for name, want := range perField(t, translators.Description{
		Name: "n", Version: "1.0.0", Settings: translators.SchemaOf(config{}),
		Features: map[translators.Feature]translators.Fidelity{translators.FeatureEvents: {Level: translators.Emulated, Note: "n"}},
		Limits: translators.Limits{
			PayloadBytes: 1, ChannelNameBytes: 2, EventNameBytes: 3, Channels: 4, PublishesPerSecond: 5.5, PerChannelPerSecond: 6.5,
			PresenceMembers: 7,
		},
		Ordering: translators.OrderPerChannel, Guarantee: translators.EffectivelyOnce, Echo: translators.EchoNative,
	}) {
		t.Run(name, func(t *testing.T) {
			wired, err := wire.FromDescription(want, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.ToDescription(travel(t, wired, &wire.DescribeResponse{}))
			if err != nil {
				t.Fatal(err)
			}
			if text(t, got) != text(t, want) {
				t.Errorf("got\n%s, want\n%s", text(t, got), text(t, want))
			}
		})
	}
	t.Run("a promise that is not known is the weakest", func(t *testing.T) {
		got, err := wire.ToDescription(&wire.DescribeResponse{
			ConfigSchema: []byte("{}"), Ordering: 9, Guarantee: 9, Echo: 9, Features: map[string]*wire.Fidelity{"events": {Level: 9}},
		})
		if err != nil || got.Ordering != translators.OrderNone || got.Guarantee != translators.AtMostOnce ||
			got.Echo != translators.EchoNone || got.Features[translators.FeatureEvents].Level != translators.Unsupported {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// text compares descriptions without caring whether absent is nil or empty.
func text(t *testing.T, d translators.Description) string {
	t.Helper()
	if len(d.Features) == 0 {
		d.Features = nil
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestReport(t *testing.T) {
	for name, want := range perField(t, translators.Report{Healthy: true, Detail: "d", Counters: map[string]uint64{"c": 1}}) {
		t.Run(name, func(t *testing.T) {
			if got := wire.ToReport(travel(t, wire.FromReport(want), &wire.Status{})); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestProblemsMembersAndPreviews(t *testing.T) {
	problems := translators.Problems{{Path: "p", What: "w"}}
	if got := wire.ToProblems(wire.FromProblems(problems)); !reflect.DeepEqual(got, problems) {
		t.Errorf("problems %+v, want %+v", got, problems)
	}
	members := []proxy.Member{{UserID: "u", Info: json.RawMessage(`{"a":1}`)}, {UserID: "v"}}
	if got := wire.ToMembers(wire.FromMembers(members)); !reflect.DeepEqual(got, members) {
		t.Errorf("members %+v, want %+v", got, members)
	}
	native := translators.Native{Destination: "d", Headers: map[string]string{"h": "v"}, Body: []byte("b")}
	losses := []translators.Loss{{Field: "f", Detail: "d"}}
	gotNative, gotLosses := wire.ToNative(travel(t, wire.FromNative(native, losses), &wire.TranslateResponse{}))
	if !reflect.DeepEqual(gotNative, native) || !reflect.DeepEqual(gotLosses, losses) {
		t.Errorf("preview %+v %+v, want %+v %+v", gotNative, gotLosses, native, losses)
	}
}

func TestSettingsRevealSecretsWhereverTheyAre(t *testing.T) {
	secret := proxy.NewSecret("s")
	raw, err := wire.FromSettings(translators.Settings{
		"a": secret, "b": []any{secret, 1}, "c": map[string]any{"d": secret}, "e": "plain",
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.ToSettings(raw)
	want := translators.Settings{"a": "s", "b": []any{"s", 1.0}, "c": map[string]any{"d": "s"}, "e": "plain"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := wire.ToSettings([]byte("[]")); err == nil {
		t.Error("settings that are a list were accepted")
	}
}
