package plugins_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/nats"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary a plugin that breaks a rule which package
// plugins keeps for authors, when it is run as "BINARY plugin DEFECT".
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "plugin" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(m.Run())
	}
	plugins.ServeAltered(nats.New(), func(good wire.BackendServer) wire.BackendServer {
		return defective{BackendServer: good, defect: os.Args[2]}
	})
}

// TestKitCatchesWhatTheSDKPrevents: a plugin in another language must keep
// these rules itself.
func TestKitCatchesWhatTheSDKPrevents(t *testing.T) {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Shutdown)
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for defect, tc := range map[string]struct{ suite, want string }{
		"none":                             {"", ""},
		"validates nothing":                {"settings", `setting "no_such_setting" is wrong, but validation says`},
		"opens with anything":              {"settings", "was opened, or refused for another reason"},
		"describes itself anew":            {"describe", "the description is another one once the session is open"},
		"ignores deadlines":                {"deadline", "were answered OK and OK"},
		"answers a batch twice":            {"results", "was answered twice"},
		"answers with too few results":     {"results", "results for"},
		"grants no more credit":            {"credit", "no credit for"},
		"shows more than it was granted":   {"credit", "with a credit of 10, 50 events were shown"},
		"leaves a part of what it drained": {"drain", "items were left without an answer"},
		"outlives its gateway":             {"host", "the process is still there"},
	} {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			o := translatortest.Options{
				Command: host.Command{
					Path: executable, Args: []string{"plugin", defect}, Environment: []string{"GORACE"},
				},
				Settings: translators.Settings{"url": server.ClientURL()}, Patience: 3 * time.Second,
			}
			if tc.suite == "" {
				o.Only = []string{"describe", "settings", "deadline", "results", "credit", "drain"}
			} else {
				o.Only = []string{tc.suite}
			}
			report, err := translatortest.Check(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Results {
				failed := r.Outcome == translatortest.Failed
				if failed != (tc.suite != "") || !strings.Contains(r.Detail, tc.want) {
					t.Errorf("suite %s: %s: %s; want %q", r.Suite, r.Outcome, r.Detail, tc.want)
				}
			}
		})
	}
}

// defective is a good plugin's service with one defect.
type defective struct {
	wire.BackendServer
	defect string
}

func (d defective) Describe(ctx context.Context, r *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	response, err := d.BackendServer.Describe(ctx, r)
	if err == nil && d.defect == "describes itself anew" {
		response.Version = fmt.Sprintf("1.0.%d", time.Now().UnixNano())
	}
	return response, err
}

func (d defective) Validate(ctx context.Context, r *wire.ValidateRequest) (*wire.ValidateResponse, error) {
	if d.defect == "validates nothing" {
		return &wire.ValidateResponse{}, nil
	}
	return d.BackendServer.Validate(ctx, r)
}

func (d defective) Open(ctx context.Context, r *wire.OpenRequest) (*wire.OpenResponse, error) {
	response, err := d.BackendServer.Open(ctx, r)
	if err == nil && d.defect == "opens with anything" {
		response.Problems, response.Error = nil, ""
	}
	return response, err
}

func (d defective) Publish(stream grpc.BidiStreamingServer[wire.PublishBatch, wire.PublishAck]) error {
	return d.BackendServer.Publish(defectivePublish{stream, d.defect})
}

type defectivePublish struct {
	grpc.BidiStreamingServer[wire.PublishBatch, wire.PublishAck]
	defect string
}

func (p defectivePublish) Recv() (*wire.PublishBatch, error) {
	batch, err := p.BidiStreamingServer.Recv()
	if err == nil && p.defect == "ignores deadlines" {
		for _, item := range batch.GetItems() {
			item.DeadlineUnixNano = 0
		}
	}
	return batch, err
}

func (p defectivePublish) Send(ack *wire.PublishAck) error {
	switch p.defect {
	case "grants no more credit":
		ack.Credit = 0
	case "answers with too few results":
		ack.Results = ack.GetResults()[:len(ack.GetResults())-1]
	case "answers a batch twice":
		if err := p.BidiStreamingServer.Send(ack); err != nil {
			return err
		}
	}
	return p.BidiStreamingServer.Send(ack)
}

func (d defective) Subscribe(stream grpc.BidiStreamingServer[wire.SubscribeControl, wire.InboundBatch]) error {
	return d.BackendServer.Subscribe(defectiveSubscribe{stream, d.defect})
}

type defectiveSubscribe struct {
	grpc.BidiStreamingServer[wire.SubscribeControl, wire.InboundBatch]
	defect string
}

func (s defectiveSubscribe) Recv() (*wire.SubscribeControl, error) {
	control, err := s.BidiStreamingServer.Recv()
	if err == nil && s.defect == "shows more than it was granted" && control.GetCredit() != nil {
		control.GetCredit().Items *= 1000
	}
	return control, err
}

func (d defective) Drain(ctx context.Context, r *wire.DrainRequest) (*wire.DrainResponse, error) {
	response, err := d.BackendServer.Drain(ctx, r)
	if err == nil && d.defect == "leaves a part of what it drained" {
		response.Leftover++
	}
	return response, err
}
