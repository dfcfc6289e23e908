package plugins

import (
	"context"

	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Presence implements wire.BackendServer.
func (s *server) Presence(stream grpc.BidiStreamingServer[wire.PresenceIntent, wire.PresenceAck]) error {
	presencer, err := find[translators.Presencer](s, AbilityPresence)
	if err != nil {
		return err
	}
	for {
		intent, err := stream.Recv()
		if err != nil {
			return ended(err)
		}
		result := setMembers(stream.Context(), presencer, intent)
		if err := stream.Send(&wire.PresenceAck{Intent: intent.GetIntent(), Result: wire.FromResult(result)}); err != nil {
			return err
		}
	}
}

func setMembers(ctx context.Context, p translators.Presencer, intent *wire.PresenceIntent) translators.Result {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	err := p.SetMembers(ctx, protocol.ChannelName(intent.GetChannel()), wire.ToMembers(intent.GetMembers()))
	if err != nil {
		return translators.Refuse(translators.CodeTransient, err)
	}
	return translators.OK()
}
