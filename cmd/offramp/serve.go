package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

func newServeCommand(env configs.Environment) *cobra.Command {
	var file, level string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway until SIGTERM, then drain",
		Long: `Runs the gateway until SIGTERM or SIGINT, then drains: connections are closed
one by one with code 4200, which makes clients come back at once, elsewhere.
SIGHUP reads the configuration again.

Without --config, the PUSHER_APP_ID, PUSHER_APP_KEY, PUSHER_APP_SECRET and
PUSHER_APP_CLUSTER variables are used where all are set; else it is development
mode: one app with public credentials, on loopback only.

Exit status: 0 after a clean drain, 2 for a bad configuration, 1 otherwise.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			load := func() (*configs.Config, error) { return loadConfig(file, env) }
			config, err := load()
			if err != nil {
				return withCode(exitConfig, err)
			}
			return serve(cmd.Context(), cmd.OutOrStdout(), config, load, log)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	cmd.Flags().StringVar(&level, "log", "info", "what to log: debug, info, warn or error")
	return cmd
}

// loadConfig reads the file, the environment, or falls back to development
// mode, in this order.
func loadConfig(file string, env configs.Environment) (*configs.Config, error) {
	if file != "" {
		return configs.Load(file, env, builtinPlugins()...)
	}
	if config, ok := configs.FromEnvironment(env); ok {
		return config, nil
	}
	return configs.Development(), nil
}

func newLogger(w io.Writer, level string) (zerolog.Logger, error) {
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("unknown log level %q: use debug, info, warn or error", level)
	}
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		w = zerolog.ConsoleWriter{Out: f, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(l).With().Timestamp().Logger(), nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func serve(ctx context.Context, out io.Writer, config *configs.Config, load func() (*configs.Config, error), log zerolog.Logger) error {
	g, err := newGateway(config, gatewayOptions{log: log})
	if err != nil {
		return err
	}
	defer g.close()

	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	reloading, stop := context.WithCancel(ctx)
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		configs.Watch(reloading, config, hangups, load, g.reload)
	}()
	defer func() {
		stop()
		<-reloaded
	}()

	err = g.run(ctx, func() { greet(out, config) })
	if err == nil || errors.Is(err, context.Canceled) {
		log.Info().Msg("stopped")
		return nil
	}
	return err
}

// greet tells the reader what to do next.
func greet(w io.Writer, c *configs.Config) {
	app := c.Apps[0]
	scheme, tls := "ws", "false"
	if c.TLS != nil {
		scheme, tls = "wss", "true"
	}
	text := fmt.Sprintf("Offramp serves %d app(s) on %s://%s, admin on http://%s\n", len(c.Apps), scheme, c.Listen, c.Admin.Listen)
	if app.ID == configs.DevelopmentID && app.Credentials[0].Key == configs.DevelopmentKey {
		host, port, _ := net.SplitHostPort(c.Listen) // checked with the configuration
		text += fmt.Sprintf(`
Development mode: these credentials are public, so only this machine can connect.

  In a page or in Node (npm install pusher-js):

    const Pusher = require("pusher-js");
    const pusher = new Pusher(%q, {
      wsHost: %q, wsPort: %s, httpHost: %q, httpPort: %s,
      forceTLS: %s, cluster: "any", enabledTransports: ["ws", "xhr_streaming", "xhr_polling"],
    });
    pusher.subscribe("my-channel").bind("my-event", (data) => console.log(data));

  From a second terminal:

    offramp trigger my-channel my-event '{"hello":"world"}'
    (or: go run ./cmd/offramp trigger my-channel my-event '{"hello":"world"}')

`, app.Credentials[0].Key, host, port, host, port, tls)
	}
	_, _ = io.WriteString(w, text) // a closed standard output is no reason to stop serving
}
