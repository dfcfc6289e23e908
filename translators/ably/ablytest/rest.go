package ablytest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// routes returns the server's handler.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveWebSocket)
	mux.HandleFunc("GET /time", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, http.StatusOK, []int64{time.Now().UnixMilli()})
	})
	mux.HandleFunc("POST /keys/{key}/requestToken", s.serveTokenRequest)
	mux.HandleFunc("POST /channels/{channel}/messages", s.authorised("publish", s.servePublish))
	mux.HandleFunc("GET /channels/{channel}/messages", s.authorised("history", s.serveHistory))
	mux.HandleFunc("GET /channels/{channel}/history", s.authorised("history", s.serveHistory))
	mux.HandleFunc("GET /channels/{channel}/presence", s.authorised("subscribe", s.servePresence))
	mux.HandleFunc("GET /channels/{channel}/presence/history", s.authorised("history",
		func(w http.ResponseWriter, r *http.Request, _ identity) { s.page(w, r, nil) }))
	mux.HandleFunc("GET /channels/{channel}", s.authorised("channel-metadata", s.serveDetails))
	return mux
}

func formatOf(header string) format {
	if strings.Contains(header, "msgpack") {
		return formatMsgpack
	}
	return formatJSON
}

func reply(w http.ResponseWriter, r *http.Request, status int, body any) {
	f := formatOf(r.Header.Get("Accept"))
	raw, err := f.marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", f.contentType())
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client has gone otherwise
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	w.Header().Set("X-Ably-Errorcode", strconv.Itoa(e.Code))
	w.Header().Set("X-Ably-Errormessage", e.Message)
	reply(w, r, e.StatusCode, map[string]*Error{"error": e})
}

// readBody reads a request's body in its encoding.
func readBody(r *http.Request, into any) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxFrameSize+1))
	if err != nil {
		return errorf(40000, 400, "the body cannot be read: %v", err)
	}
	if len(raw) > maxFrameSize {
		return errorf(40009, 413, "the body is larger than %d bytes", maxFrameSize)
	}
	if err := formatOf(r.Header.Get("Content-Type")).unmarshal(raw, into); err != nil {
		return errorf(40001, 400, "the body cannot be decoded: %v", err)
	}
	return nil
}

func (s *Server) serveTokenRequest(w http.ResponseWriter, r *http.Request) {
	var request tokenRequest
	err := readBody(r, &request)
	if err == nil && request.KeyName == "" {
		request.KeyName = r.PathValue("key")
	}
	var token tokenDetails
	if err == nil {
		token, err = s.requestToken(request)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	reply(w, r, http.StatusCreated, token)
}

// authorised is a handler for those who may do something on the channel of
// the path.
func (s *Server) authorised(
	operation string, handle func(http.ResponseWriter, *http.Request, identity),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.authorise(r)
		if err == nil {
			s.mu.Lock()
			err = s.may(who, r.PathValue("channel"), operation)
			s.mu.Unlock()
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		handle(w, r, who)
	}
}

// messageList is one message or several.
type messageList []Message

func (s *Server) servePublish(w http.ResponseWriter, r *http.Request, who identity) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxFrameSize))
	f := formatOf(r.Header.Get("Content-Type"))
	var list messageList
	if err == nil && f.unmarshal(raw, &list) != nil {
		var one Message
		err = f.unmarshal(raw, &one)
		list = messageList{one}
	}
	if err != nil {
		refuse(w, r, errorf(40001, 400, "the body cannot be decoded: %v", err))
		return
	}
	base := randomID(8)
	s.mu.Lock()
	err = s.accept(r.PathValue("channel"), who, nil, base, list)
	s.mu.Unlock()
	if err != nil {
		refuse(w, r, err)
		return
	}
	reply(w, r, http.StatusCreated, map[string]any{"channel": r.PathValue("channel"), "messageId": base})
}

func (s *Server) serveHistory(w http.ResponseWriter, r *http.Request, _ identity) {
	all := s.Messages(r.PathValue("channel"))
	if r.URL.Query().Get("direction") != "forwards" {
		slices.Reverse(all)
	}
	s.page(w, r, all)
}

func (s *Server) servePresence(w http.ResponseWriter, r *http.Request, _ identity) {
	s.mu.Lock()
	var all []Message
	if ch, ok := s.channels[r.PathValue("channel")]; ok {
		all = ch.presentNow()
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Message) int { return strings.Compare(a.ClientID+a.ConnectionID, b.ClientID+b.ConnectionID) })
	s.page(w, r, all)
}

// page answers with a part of a list, and links to its neighbours.
func (s *Server) page(w http.ResponseWriter, r *http.Request, all []Message) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		limit = 100
	}
	start, _ := strconv.Atoi(q.Get("_start"))
	start = min(max(start, 0), len(all))
	end := min(start+limit, len(all))
	last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	link := func(from int, rel string) {
		next := url.Values{}
		for name, values := range q {
			next[name] = values
		}
		next.Set("_start", strconv.Itoa(from))
		w.Header().Add("Link", fmt.Sprintf("<./%s?%s>; rel=%q", last, next.Encode(), rel))
	}
	link(0, "first")
	link(start, "current")
	if end < len(all) {
		link(end, "next")
	}
	reply(w, r, http.StatusOK, allIn(formatOf(r.Header.Get("Accept")), all[start:end]))
}

// serveDetails tells about a channel (vendor documentation: "Channel
// metadata").
func (s *Server) serveDetails(w http.ResponseWriter, r *http.Request, _ identity) {
	name := r.PathValue("channel")
	s.mu.Lock()
	var connections, members int
	if ch, ok := s.channels[name]; ok {
		connections, members = len(ch.attached), len(ch.members)
	}
	s.mu.Unlock()
	reply(w, r, http.StatusOK, map[string]any{"channelId": name, "status": map[string]any{
		"isActive": connections > 0,
		"occupancy": map[string]any{"metrics": map[string]int{
			"connections": connections, "publishers": connections, "subscribers": connections,
			"presenceConnections": connections, "presenceMembers": members, "presenceSubscribers": connections,
		}},
	}})
}
