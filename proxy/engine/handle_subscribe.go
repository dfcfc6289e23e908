package engine

import (
	"fmt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// subscribe carries out pusher:subscribe. The order of its checks is the one
// that the vendor's error texts imply: fields, name, signature, and only then
// the content of channel_data.
func (c *Conn) subscribe(app *proxy.App, data []byte) *protocol.Error {
	cmd, err := protocol.DecodeSubscribe(data)
	if err != nil {
		return err
	}
	name := cmd.Channel
	if limit := app.Limits.ChannelNameLength; !name.Valid(limit) {
		return protocol.ErrChannelName(name, limit)
	}
	if c.joined.get(name) != nil {
		return protocol.ErrExisting(name)
	}
	if err := c.mayJoin(app, cmd); err != nil {
		return err
	}
	var member *protocol.Member
	if name.Kind() == protocol.Presence {
		if member, err = c.member(app, cmd); err != nil {
			return err
		}
	}
	if err := c.engine.join(app, c, name, member); err != nil {
		return err
	}
	if name.NeedsAuth() {
		return c.authorise(app)
	}
	return nil
}

// mayJoin checks what a channel asks of a connection: a signature, or to be
// signed in as the channel's user.
func (c *Conn) mayJoin(app *proxy.App, cmd protocol.Subscribe) *protocol.Error {
	if user, ok := cmd.Channel.UserID(); ok {
		if c.login == nil || c.login.user.ID != user {
			return protocol.ErrUserChannel
		}
		return nil
	}
	if !cmd.Channel.NeedsAuth() {
		return nil
	}
	if err := VerifySubscribe(app, c.id, cmd); err != nil {
		return err
	}
	c.allowed("subscribe", cmd.Channel)
	return nil
}

// VerifySubscribe checks the signature of a subscription that needs one, for
// the connection that the signature was made for.
func VerifySubscribe(app *proxy.App, id protocol.SocketID, cmd protocol.Subscribe) *protocol.Error {
	if cmd.Auth == nil || *cmd.Auth == "" {
		return protocol.ErrAuthRequired(cmd.Channel)
	}
	key, signature, ok := protocol.SplitAuth(*cmd.Auth)
	if !ok {
		return protocol.ErrAuthFormat(cmd.Channel)
	}
	credential, ok := app.Credential(key)
	if !ok {
		return protocol.ErrAuthKey(key)
	}
	signed := protocol.ChannelString(id, cmd.Channel, cmd.ChannelData)
	if !protocol.Verify(credential.Secret.Reveal(), signed, signature) {
		return protocol.ErrAuthSignature(signed, signature)
	}
	return nil
}

// member returns who joins a presence channel: the one in channel_data, else
// the signed-in user.
func (c *Conn) member(app *proxy.App, cmd protocol.Subscribe) (*protocol.Member, *protocol.Error) {
	if cmd.ChannelData != nil {
		m, err := protocol.DecodeMember(cmd.Channel, *cmd.ChannelData, app.Limits.PresenceUserInfoBytes)
		return &m, err
	}
	if c.login == nil {
		return nil, protocol.ErrPresenceData(cmd.Channel, "it is missing, and the connection is not signed in")
	}
	user := c.login.user
	if limit := app.Limits.PresenceUserInfoBytes; len(user.Info) > limit {
		return nil, protocol.ErrPresenceData(cmd.Channel, fmt.Sprintf("user_info of the sign-in has %d bytes, at most %d are allowed", len(user.Info), limit))
	}
	return &protocol.Member{UserID: user.ID, Info: user.Info}, nil
}

// unsubscribe carries out pusher:unsubscribe, which is not answered.
func (c *Conn) unsubscribe(data []byte) *protocol.Error {
	cmd, err := protocol.DecodeSubscribe(data)
	if err != nil {
		return err
	}
	sub := c.joined.get(cmd.Channel)
	if sub == nil {
		return protocol.ErrNotSubscribed(cmd.Channel)
	}
	c.engine.leave(c, sub)
	return nil
}
