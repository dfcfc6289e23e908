package httpapi

import (
	"net/http"
	"net/url"
	"strings"
)

// resource is what a kind of path stands for.
type resource struct {
	name   string // in metrics and records
	method string
	events int                     // how many events its body may carry
	status int                     // of what was done
	read   func(*request) *refusal // a publish: reads and checks its events
	serve  func(*API, *request) *refusal
}

// String returns the resource's name; that of none is "unknown".
func (res *resource) String() string {
	if res == nil {
		return "unknown"
	}
	return res.name
}

var (
	eventsResource    = resource{"events", http.MethodPost, 1, http.StatusOK, (*request).readEvent, (*API).answerEvent}
	batchResource     = resource{"batch_events", http.MethodPost, maxBatch, http.StatusOK, (*request).readBatch, (*API).answerBatch}
	channelsResource  = resource{"channels", http.MethodGet, 0, http.StatusOK, nil, (*API).getChannels}
	channelResource   = resource{"channel", http.MethodGet, 0, http.StatusOK, nil, (*API).getChannel}
	usersResource     = resource{"users", http.MethodGet, 0, http.StatusOK, nil, (*API).getUsers}
	terminateResource = resource{"terminate_connections", http.MethodPost, 0, http.StatusOK, nil, (*API).terminate}
	legacyResource    = resource{"legacy_events", http.MethodPost, 1, http.StatusAccepted, (*request).readLegacy, (*API).answerLegacy}
	statsResource     = resource{"stats", http.MethodGet, 0, http.StatusOK, nil, (*API).getStats}
)

// route finds the resource of a path and what the path names.
func (r *request) route(path string) bool {
	r.path = path
	var segments [5]string
	n := split(path, &segments)
	if n >= 3 && segments[0] == "apps" {
		r.appID = segments[1]
		r.resource = appResource(segments[2:n])
		if n > 3 {
			r.name = unescapePath(segments[3])
		}
		return r.appID != "" && r.resource != nil
	}
	// The Python SDK leaves the app out; its key says which one is meant.
	if n == 3 && segments[0] == "users" && segments[2] == "terminate_connections" {
		r.resource, r.name = &terminateResource, unescapePath(segments[1])
		return true
	}
	return false
}

// appResource finds the resource of what follows /apps/ID/.
func appResource(path []string) *resource {
	last := path[len(path)-1]
	switch {
	case len(path) == 1 && last == "events":
		return &eventsResource
	case len(path) == 1 && last == "batch_events":
		return &batchResource
	case len(path) == 1 && last == "channels":
		return &channelsResource
	case len(path) == 2 && path[0] == "channels":
		return &channelResource
	case len(path) == 3 && path[0] == "channels" && last == "users":
		return &usersResource
	case len(path) == 3 && path[0] == "channels" && last == "events":
		return &legacyResource
	case len(path) == 3 && path[0] == "channels" && last == "stats":
		return &statsResource
	case len(path) == 3 && path[0] == "users" && last == "terminate_connections":
		return &terminateResource
	default:
		return nil
	}
}

// split cuts a path at its slashes and returns the number of segments, 0 when
// there are more than fit.
func split(path string, segments *[5]string) int {
	rest, rooted := strings.CutPrefix(path, "/")
	if !rooted {
		return 0
	}
	for i := range segments {
		segment, more, found := strings.Cut(rest, "/")
		segments[i] = segment
		if !found {
			return i + 1
		}
		rest = more
	}
	return 0
}

func unescapePath(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}
