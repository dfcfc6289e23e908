package centrifugo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/offramp/offramp/translators"
)

// The parts of the HTTP API that are used (server documentation: server API).
type (
	command struct {
		Publish *publish  `json:"publish,omitempty"`
		Info    *struct{} `json:"info,omitempty"`
	}
	publish struct {
		Channel        string          `json:"channel"`
		Data           json.RawMessage `json:"data"`
		IdempotencyKey string          `json:"idempotency_key,omitempty"`
	}
	reply struct {
		Error   *apiError `json:"error"`
		Publish *struct {
			Offset uint64 `json:"offset"`
		} `json:"publish"`
	}
	apiError struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
)

func (e *apiError) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }

// maxReply bounds the server's answer to a batch.
const maxReply = 1 << 20

// errRights is an answer to a request that was not allowed.
var errRights = errors.New("the server refused the API key: is settings.api_key the server's http_api.key (api_key in its configuration)?")

// call sends commands in one request, to be done one after the other.
func (s *session) call(ctx context.Context, commands []command) ([]reply, error) {
	body, err := json.Marshal(struct {
		Commands []command `json:"commands"`
	}{commands})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL+"/api/batch", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-API-Key", s.config.APIKey.Reveal())
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, errRights
	default:
		return nil, fmt.Errorf("the server answered %s", response.Status)
	}
	var answer struct {
		Replies []reply `json:"replies"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxReply)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if len(answer.Replies) != len(commands) {
		return nil, fmt.Errorf("the server answered %d of %d commands", len(answer.Replies), len(commands))
	}
	return answer.Replies, nil
}

// ping asks for something harmless, to see that the server and the key are right.
func (s *session) ping(ctx context.Context) error {
	replies, err := s.call(ctx, []command{{Info: &struct{}{}}})
	if err == nil && replies[0].Error != nil {
		err = replies[0].Error
	}
	return err
}

// Publish implements translators.Session.
func (s *session) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	commands := make([]command, len(batch))
	for i, e := range batch {
		body, err := translators.EncodeMessage(e)
		if err != nil {
			return translators.RefuseAll(len(batch), translators.CodeUnsupported, err)
		}
		commands[i].Publish = &publish{Channel: s.native(e.Channel), Data: body, IdempotencyKey: e.ID.String()}
	}
	replies, err := s.call(ctx, commands)
	if errors.Is(err, errRights) {
		return translators.RefuseAll(len(batch), translators.CodeRejectedAuth, err)
	}
	if err != nil {
		return translators.RefuseAll(len(batch), translators.CodeTransient, err)
	}
	results := make([]translators.Result, len(batch))
	for i, r := range replies {
		results[i] = resultOf(r)
	}
	return results
}

// resultOf returns what a reply means (server documentation: API error codes).
func resultOf(r reply) translators.Result {
	if r.Error == nil {
		result := translators.OK()
		if r.Publish != nil && r.Publish.Offset > 0 {
			result.NativeID = fmt.Sprint(r.Publish.Offset)
		}
		return result
	}
	if r.Error.Code == 102 {
		return translators.Refuse(translators.CodeRejectedName, fmt.Errorf("its namespace is not in the server's configuration: %w", r.Error))
	}
	code := translators.CodeTransient
	switch r.Error.Code {
	case 101, 103: // unauthorized, permission denied
		code = translators.CodeRejectedAuth
	case 107: // bad request
		code = translators.CodeRejectedName
	case 104, 108: // method not found, not available
		code = translators.CodeUnsupported
	case 106, 111: // limit exceeded, too many requests
		code = translators.CodeThrottled
	}
	return translators.Refuse(code, r.Error)
}
