package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/admin"
	"github.com/offramp/offramp/proxy/route"
	"github.com/offramp/offramp/proxy/upstream"
	"github.com/offramp/offramp/shadow/report"
)

// reportGate lets an app move on only when its report says so.
type reportGate struct {
	report func(ctx context.Context, app string) (*report.Report, error)
}

// Judge implements route.Gate. Beginning to shadow needs no evidence: it is
// how evidence comes about, and no client is touched by it.
func (g reportGate) Judge(ctx context.Context, m route.Move) ([]route.Objection, error) {
	if m.To.Stage <= proxy.StageShadow {
		return nil, nil
	}
	r, err := g.report(ctx, m.App)
	if err != nil {
		return nil, err
	}
	var objections []route.Objection
	for _, reason := range r.Verdict.Reasons {
		objections = append(objections, route.Objection{Gate: reason.Gate, Text: reason.Text})
	}
	for _, lack := range r.Verdict.Insufficient {
		objections = append(objections, route.Objection{Gate: lack.Gate, Text: lack.Text})
	}
	if len(objections) == 0 && r.ExitCode() != exitOK {
		objections = append(objections, route.Objection{Gate: "report", Text: "the verdict is " + string(r.Verdict.State)})
	}
	return objections, nil
}

// stages shows and moves the migration's stages for the admin listener.
type stages struct {
	router *route.Router
	relay  *upstream.Relay
}

// stageView is an app's stage as the API and the command show it.
type stageView struct {
	App     string        `json:"app"`
	Stage   proxy.Stage   `json:"stage"`
	Rules   []stageRule   `json:"rules"`
	History []route.Entry `json:"history"` // oldest first
	// Behind is why this node may not know of the last moves of other nodes.
	// While they cannot be asked nothing can be moved.
	Behind string `json:"behind,omitempty"`
	// Broken is what the loop breaker has stopped.
	Broken []upstream.Broken `json:"broken,omitempty"`
	// Trouble is what is wrong with the upstream.
	Trouble []upstream.Trouble `json:"trouble,omitempty"`
	// FailedOpen: the engine stands in for an upstream that is down.
	FailedOpen bool `json:"failed_open,omitempty"`
	// Copies is how the copies for the upstream are doing.
	Copies *upstream.Copies `json:"copies,omitempty"`
	// Webhooks is what receivers are told twice, and how to end that.
	Webhooks string `json:"webhooks,omitempty"`
	// Tripwire is who is still seen at the upstream after the exit.
	Tripwire *upstream.Tripwire `json:"tripwire,omitempty"`
}

// stageRule is the stage of the channels that match a pattern.
type stageRule struct {
	Channels string       `json:"channels"`
	Stage    proxy.Stage  `json:"stage"`
	Percent  int          `json:"percent,omitempty"`
	By       proxy.Sticky `json:"by,omitempty"`
}

// Show implements admin.Stages.
func (s stages) Show(_ context.Context, app string) (any, error) {
	current, ok := s.router.ByID(app)
	if !ok {
		return nil, fmt.Errorf("%w: app %q", admin.ErrNotFound, app)
	}
	history, err := s.router.History(app)
	if err != nil {
		return nil, err
	}
	view := stageView{
		App: app, Stage: current.Stage, Rules: []stageRule{}, History: history,
		Broken: s.relay.Broken(app), Trouble: s.relay.Trouble(app), FailedOpen: s.relay.FailedOpen(current),
	}
	if err := s.router.Behind(); err != nil {
		view.Behind = err.Error()
	}
	if view.History == nil {
		view.History = []route.Entry{}
	}
	if c, ok := s.relay.Copies(app); ok {
		view.Copies = &c
	}
	if t, ok := s.relay.Tripwire(app); ok {
		view.Tripwire = &t
	}
	for _, r := range append(current.Rules, proxy.Rule{Stage: current.Stage}) {
		view.Webhooks = cmp.Or(view.Webhooks, s.relay.HookAdvice(current, r.Stage))
	}
	for _, r := range current.Rules {
		rule := stageRule{Channels: r.Channels, Stage: r.Stage}
		if r.Stage == proxy.StageCanary {
			rule.Percent, rule.By = r.Percent, r.By
		}
		view.Rules = append(view.Rules, rule)
	}
	return view, nil
}

// warnings says what does not keep the gateway from serving and yet concerns
// whoever runs it: another node would fare no better, so it is ready all the
// same.
func (g *gateway) warnings(context.Context) []string {
	var list []string
	if err := g.router.Behind(); err != nil && !errors.Is(err, route.ErrUnread) { // which keeps it from being ready
		list = append(list, err.Error())
	}
	if nodes := g.disagreeing(); len(nodes) > 0 {
		list = append(list, stagesDiffer+": "+strings.Join(nodes, ", "))
	}
	for _, app := range g.apps.All() {
		if app.Upstream == nil {
			continue
		}
		for _, t := range g.relay.Trouble(app.ID) {
			list = append(list, fmt.Sprintf("upstream of app %s: %s: %s", app.ID, t.Kind, t.Text))
		}
		if g.relay.FailedOpen(app) {
			list = append(list, "upstream of app "+app.ID+" is down: the engine stands in for it")
		}
		if t, ok := g.relay.Tripwire(app.ID); ok && len(t.Seen) > 0 {
			list = append(list, fmt.Sprintf("the tripwire of app %s has seen %d clients and publishers at the upstream", app.ID, len(t.Seen)))
		}
		for _, b := range g.relay.Broken(app.ID) {
			list = append(list, fmt.Sprintf("bridge of app %s is stopped on channels %s: %s", app.ID, b.Channels, b.Why))
		}
	}
	return list
}

// stageMove is the answer to a change.
type stageMove struct {
	route.Move
	DryRun     bool              `json:"dry_run,omitempty"`
	Seq        uint64            `json:"seq,omitempty"` // of the journal's entry
	At         time.Time         `json:"at,omitzero"`
	Overridden []route.Objection `json:"overridden,omitempty"`
	Webhooks   string            `json:"webhooks,omitempty"` // as in stageView
}

// Set implements admin.Stages.
func (s stages) Set(ctx context.Context, app string, c admin.StageChange) (any, error) {
	stage, err := proxy.ParseStage(c.Stage)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	q := route.Request{App: app, Channels: c.Channels, Stage: stage, By: c.By, Who: c.Who, Why: c.Why, Force: c.Force}
	if c.Percent != nil {
		q.Percent = *c.Percent
	}
	if c.DryRun {
		m, err := s.router.DryRun(ctx, q)
		return s.advised(stageMove{Move: m, DryRun: true}), adminError(err)
	}
	e, err := s.router.Set(ctx, q)
	return s.advised(moveOf(e)), adminError(err)
}

// advised adds what a move means for the app's webhooks.
func (s stages) advised(m stageMove) stageMove {
	if app, ok := s.router.ByID(m.App); ok {
		m.Webhooks = s.relay.HookAdvice(app, m.To.Stage)
	}
	return m
}

// Rollback implements admin.Stages.
func (s stages) Rollback(ctx context.Context, app string, u admin.StageUndo) (any, error) {
	e, err := s.router.Rollback(ctx, route.Undo{App: app, Channels: u.Channels, Who: u.Who, Why: u.Why})
	return moveOf(e), adminError(err)
}

// stageRearmed is what the bridge carries again.
type stageRearmed struct {
	Channels []string `json:"channels"`
}

// Rearm implements admin.Stages.
func (s stages) Rearm(_ context.Context, app string, u admin.StageUndo) (any, error) {
	freed := s.relay.Rearm(app, u.Channels, u.Who, u.Why)
	if len(freed) == 0 {
		return nil, fmt.Errorf("%w: the loop breaker has stopped nothing there", admin.ErrInvalid)
	}
	return stageRearmed{freed}, nil
}

func moveOf(e route.Entry) stageMove {
	return stageMove{Move: e.Move, Seq: e.Seq, At: e.At, Overridden: e.Overridden}
}

// adminError says which status a router's error deserves.
func adminError(err error) error {
	var refused *route.Refused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w", admin.ErrRefused, err)
	case errors.Is(err, route.ErrOvertaken):
		return fmt.Errorf("%w: %w", admin.ErrRefused, err)
	case errors.Is(err, route.ErrAway):
		return fmt.Errorf("%w: %w", admin.ErrNotYet, err)
	case errors.Is(err, route.ErrNoApp):
		return fmt.Errorf("%w: %w", admin.ErrNotFound, err)
	case errors.Is(err, route.ErrInvalid), errors.Is(err, route.ErrNoUpstream),
		errors.Is(err, route.ErrUnchanged), errors.Is(err, route.ErrNothing):
		return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	return err
}
