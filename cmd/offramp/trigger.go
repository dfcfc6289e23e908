package main

import (
	"fmt"
	"io"
	"strings"

	pusher "github.com/pusher/pusher-http-go/v5"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

// maxTriggerBytes bounds what is read from standard input; servers allow less.
const maxTriggerBytes = 1 << 20

func newTriggerCommand(env configs.Environment) *cobra.Command {
	var at target
	var socket string
	cmd := &cobra.Command{
		Use:   "trigger CHANNEL EVENT [DATA]",
		Short: "Publish an event through the HTTP API of any Pusher-compatible server",
		Long: `Publishes one event. CHANNEL may be several names with commas between them.
DATA is sent as it is; "-" reads it from standard input, and without it the
data is {}.

  offramp trigger my-channel my-event '{"hello":"world"}'

Exit status: 0 accepted, 1 otherwise.`,
		Args: arguments(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			data := "{}"
			if len(args) == 3 {
				data = args[2]
			}
			if data == "-" {
				read, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxTriggerBytes))
				if err != nil {
					return fmt.Errorf("read the event's data: %w", err)
				}
				data = string(read)
			}
			channels := strings.Split(args[0], ",")
			var params pusher.TriggerParams
			if socket != "" {
				params.SocketID = &socket
			}
			_, err := at.api().TriggerMultiWithParams(channels, args[1], data, params)
			if err != nil {
				return at.failed("trigger "+args[1], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted: %s on %s, %d bytes\n", args[1], args[0], len(data))
			return err
		},
	}
	at.addFlags(cmd, env)
	cmd.Flags().StringVar(&socket, "socket-id", "", "connection that does not get the event")
	return cmd
}
