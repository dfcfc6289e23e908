package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow/capture"
)

func newRecordCommand(env configs.Environment) *cobra.Command {
	var source reportSource
	var length time.Duration
	var out string
	var payloads bool
	cmd := &cobra.Command{
		Use:   "record --out FILE",
		Short: "Record a stretch of traffic on a running gateway, for replay",
		Long: `Records what passes a running gateway for a while: every event, and what each
system made of it. The file can be compared again with ` + "`offramp replay`" + `, as
often as wished, and its publishes sent to another backend.

Payloads, user ids and addresses are replaced by keyed hashes of the same
length; --payloads keeps them. Names of channels and events stay.

Exit status: 0 recorded, 1 not.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usage(cmd, errors.New("say where to with --out, such as --out traffic.capture"))
			}
			admin, app, err := source.gateway(cmd.Context(), env)
			if err != nil {
				return err
			}
			query := url.Values{"for": {length.String()}, "payloads": {fmt.Sprint(payloads)}}
			err = writeFile(out, func(w io.Writer) error {
				return admin.stream(cmd.Context(), "/api/v1/apps/"+url.PathEscape(app)+"/capture", query, length, w)
			})
			if err != nil {
				return err
			}
			return describeCapture(cmd.OutOrStdout(), out)
		},
	}
	source.addFlags(cmd)
	f := cmd.Flags()
	f.DurationVar(&length, "for", time.Minute, "how long, up to 1h")
	f.BoolVar(&payloads, "payloads", false, "keep payloads and user ids readable")
	f.StringVar(&out, "out", "", "file to write")
	return cmd
}

// stream copies the answer of a request that lasts to w.
func (a adminClient) stream(ctx context.Context, path string, query url.Values, length time.Duration, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	resp, err := a.send(ctx, http.MethodPost, path, query, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
		if err != nil {
			return fmt.Errorf("read the answer of %s: %w", a.base, err)
		}
		return &adminAnswer{status: resp.StatusCode, text: problemText(answer)}
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("the recording was cut off: %w", err)
	}
	return nil
}

// describeCapture reads a capture to its end and says what is in it.
func describeCapture(out io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the capture: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := capture.NewReader(f)
	if err != nil {
		return err
	}
	records, published := 0, 0
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		records++
		if rec.Kind == proxy.KindPublished {
			published++
		}
	}
	_, err = fmt.Fprintf(out, "%s: %d records, %d events published; compare it again with: offramp replay %s\n", path, records, published, path)
	return err
}
