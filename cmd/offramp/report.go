package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
)

func newReportCommand(env configs.Environment) *cobra.Command {
	var source reportSource
	var form reportForm
	cmd := &cobra.Command{
		Use:   "report",
		Short: "The shadow comparison report: is the next step safe?",
		Long: `Prints the shadow comparison report of an app: what the candidates delivered
beside what clients were given, with a verdict.

The evidence comes from the running gateway, through its admin listener
(--admin, or the one that --config names); or, when no gateway runs with that
configuration, from its data directory. Of a cluster, name every node with
--admin: their evidence makes one report.

Exit status: 0 ready, 1 not ready, 2 too little data, 3 the tool itself failed.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := form.check(); err != nil {
				return withCode(exitTool, err)
			}
			r, err := source.read(cmd.Context(), env)
			if err != nil {
				return withCode(exitTool, err)
			}
			return form.write(cmd, r)
		},
	}
	source.addFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&source.evidence, "evidence", nil, "file with a gateway's evidence, as its admin listener gives it; several, and several --admin, make one report")
	f.StringVar(&source.since, "since", "", "only evidence from this time on: RFC 3339, or a duration back from now such as 24h")
	form.addFlags(cmd)
	cmd.AddCommand(newReportDiffCommand(), newReportVerifyCommand())
	return cmd
}

// reportSource is where a report comes from.
type reportSource struct {
	file, app, since string
	admins           []string
	evidence         []string // files
}

func (s *reportSource) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.file, "config", "", "configuration file of the gateway")
	f.StringSliceVar(&s.admins, "admin", nil, "admin address of the gateway, such as http://127.0.0.1:6002; its token is read from OFFRAMP_ADMIN_TOKEN")
	f.StringVar(&s.app, "app", "", "app id; needed when there are several")
}

// gateway returns the running gateway that the flags lead to, and the app.
func (s *reportSource) gateway(ctx context.Context, env configs.Environment) (admin adminClient, app string, err error) {
	switch len(s.admins) {
	case 1:
		admin = clientOf(s.admins[0], env)
	case 0:
		config, err := loadConfig(s.file, env)
		if err != nil {
			return admin, "", err
		}
		admin = adminOf(config)
	default:
		return admin, "", errors.New("name one gateway with --admin")
	}
	if app = s.app; app == "" {
		app, err = admin.onlyApp(ctx)
	}
	return admin, app, err
}

func clientOf(base string, env configs.Environment) adminClient {
	token, _ := env("OFFRAMP_ADMIN_TOKEN")
	return adminClient{base: base, token: token}
}

func (s reportSource) read(ctx context.Context, env configs.Environment) (*report.Report, error) {
	since, err := parseSince(s.since, time.Now())
	if err != nil {
		return nil, err
	}
	if len(s.admins)+len(s.evidence) > 1 || len(s.evidence) > 0 {
		return s.merge(ctx, env, since)
	}
	if len(s.admins) == 1 {
		return s.fetch(ctx, clientOf(s.admins[0], env), since)
	}
	config, err := loadConfig(s.file, env)
	if err != nil {
		return nil, err
	}
	r, err := s.fetch(ctx, adminOf(config), since)
	if err == nil || !errors.Is(err, errNoGateway) {
		return r, err
	}
	return s.fromDisk(config, since)
}

// parseSince reads a point in time; the empty text is the beginning.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d.Abs()), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--since %q is neither a time such as 2026-01-31T12:00:00Z nor a duration such as 24h", text)
	}
	return at, nil
}

func (s reportSource) fetch(ctx context.Context, admin adminClient, since time.Time) (*report.Report, error) {
	app := s.app
	if app == "" {
		var err error
		if app, err = admin.onlyApp(ctx); err != nil {
			return nil, err
		}
	}
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.Format(time.RFC3339))
	}
	r := new(report.Report)
	if err := admin.get(ctx, "/api/v1/apps/"+url.PathEscape(app)+"/report", query, r); err != nil {
		return nil, err
	}
	return r, nil
}

func onlyApp(ids []string) (string, error) {
	if len(ids) != 1 {
		return "", fmt.Errorf("there are %d apps: name one with --app: %s", len(ids), strings.Join(ids, ", "))
	}
	return ids[0], nil
}

// fromDisk reports on what a gateway that has ended left in its journal.
func (s reportSource) fromDisk(config *configs.Config, since time.Time) (*report.Report, error) {
	if _, err := os.Stat(config.Data); err != nil {
		return nil, fmt.Errorf("no gateway answers on %s, and there is no evidence in %s: start one with `offramp serve`, or name it with --admin or --config",
			config.Admin.Listen, config.Data)
	}
	registry, err := apps.New(config.Apps)
	if err != nil {
		return nil, err
	}
	app := s.app
	if app == "" {
		ids := make([]string, len(config.Apps))
		for i, a := range config.Apps {
			ids[i] = a.ID
		}
		if app, err = onlyApp(ids); err != nil {
			return nil, err
		}
	}
	known, ok := registry.ByID(app)
	if !ok {
		return nil, fmt.Errorf("there is no app %q in the configuration", app)
	}
	db, err := openDatabase(config.Data)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	journal, err := shadow.NewJournal(db)
	if err != nil {
		return nil, err
	}
	comparator, err := shadow.New(shadow.Settings{Apps: registry.ByID, Journal: journal, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	rules, err := readRules(known.IgnoreRules)
	if err != nil {
		return nil, err
	}
	return report.Build(comparator.Snapshot(app, since), report.DefaultGates(), report.Meta{
		ConfigDigest: configDigest(known), GatewayVersion: version, Generated: time.Now(), Rules: rules,
	}), nil
}

// readReport reads a report that was written as JSON.
func readReport(path string) (*report.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := report.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
