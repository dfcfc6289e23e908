package httpstream

import (
	"fmt"

	"github.com/valyala/fasthttp"
)

// serveSend answers xhr_send: messages from the client.
func (s *Server) serveSend(ctx *fasthttp.RequestCtx, id string) {
	st := s.find(id)
	if st == nil {
		plain(ctx, fasthttp.StatusNotFound, "No such session\n")
		return
	}
	messages, err := decodeMessages(ctx.PostBody())
	if err != nil {
		plain(ctx, fasthttp.StatusInternalServerError, err.Error())
		return
	}
	for _, m := range messages {
		if len(m) > s.settings.MaxMessageBytes {
			plain(ctx, fasthttp.StatusRequestEntityTooLarge,
				fmt.Sprintf("Message of %d bytes: at most %d are allowed\n", len(m), s.settings.MaxMessageBytes))
			return
		}
	}
	if !st.handle(messages) {
		plain(ctx, fasthttp.StatusNotFound, "The session has ended\n")
		return
	}
	plain(ctx, fasthttp.StatusNoContent, "")
}
