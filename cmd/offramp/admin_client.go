package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy/admin"
)

// adminClient talks to a gateway's admin listener.
type adminClient struct {
	base  string // http://host:port
	token string // empty: none
}

func adminOf(config *configs.Config) adminClient {
	return adminClient{base: "http://" + config.Admin.Listen, token: config.Admin.Token.Reveal()}
}

// errNoGateway is returned when nothing answers on the admin address.
var errNoGateway = errors.New("no gateway answers")

func (a adminClient) get(ctx context.Context, path string, query url.Values, into any) error {
	return a.call(ctx, http.MethodGet, path, query, nil, into)
}

// call sends a request with a JSON body (nil: none) and decodes the answer.
func (a adminClient) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := a.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", a.base, err)
	}
	if resp.StatusCode/100 != 2 {
		return &adminAnswer{status: resp.StatusCode, text: problemText(answer)}
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s does not answer as Offramp's admin listener does: %w", a.base, err)
	}
	return nil
}

// send sends a request with a JSON body (nil: none). The caller closes the
// answer's body.
func (a adminClient) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = strings.NewReader(string(text))
	}
	target := strings.TrimRight(a.base, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", a.base, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w", errNoGateway, a.base, err)
	}
	return resp, nil
}

// onlyApp returns the id of the gateway's app, if it has just one.
func (a adminClient) onlyApp(ctx context.Context) (string, error) {
	var list []struct {
		ID string `json:"id"`
	}
	if err := a.get(ctx, "/api/v1/apps", nil, &list); err != nil {
		return "", err
	}
	ids := make([]string, len(list))
	for i, app := range list {
		ids[i] = app.ID
	}
	return onlyApp(ids)
}

// adminAnswer is a refusal by the admin listener.
type adminAnswer struct {
	status int
	text   string
}

func (a *adminAnswer) Error() string { return a.text }

// problemText returns what an answer says is wrong, and what would mend it.
func problemText(answer []byte) string {
	var problem admin.Problem
	if err := json.Unmarshal(answer, &problem); err != nil || problem.Error == "" {
		return strings.TrimSpace(string(answer))
	}
	if problem.Fix != "" {
		return problem.Error + ": " + problem.Fix
	}
	return problem.Error
}

// maxAdminAnswer bounds what is read from an admin listener.
const maxAdminAnswer = 256 << 20
