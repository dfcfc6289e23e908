package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
)

// merge makes one report of the evidence of several gateways. Rules are those
// that --rules names: what each gateway's configuration accepts is its own.
func (s reportSource) merge(ctx context.Context, env configs.Environment, since time.Time) (*report.Report, error) {
	var all []shadow.Evidence
	app := s.app
	for _, base := range s.admins {
		admin := clientOf(base, env)
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
		var ev shadow.Evidence
		if err := admin.get(ctx, "/api/v1/apps/"+url.PathEscape(app)+"/evidence", query, &ev); err != nil {
			return nil, fmt.Errorf("%s: %w", base, err)
		}
		all = append(all, ev)
	}
	for _, path := range s.evidence {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read evidence: %w", err)
		}
		var ev shadow.Evidence
		if err := json.Unmarshal(text, &ev); err != nil {
			return nil, fmt.Errorf("%s holds no evidence, as GET /api/v1/apps/{id}/evidence answers with: %w", path, err)
		}
		if err := plausible(ev, time.Now()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, ev)
	}
	ev, err := shadow.Merge(all...)
	if err != nil {
		return nil, err
	}
	return report.Build(ev, report.DefaultGates(), report.Meta{GatewayVersion: version, Generated: time.Now()}), nil
}
