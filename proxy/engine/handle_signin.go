package engine

import (
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// signin carries out pusher:signin. A second sign-in as the same user is
// confirmed once more, and its watchlist takes the place of the first.
func (c *Conn) signin(app *proxy.App, data []byte) *protocol.Error {
	cmd, err := protocol.DecodeSignin(data)
	if err != nil {
		return err
	}
	key, signature, ok := protocol.SplitAuth(cmd.Auth)
	if !ok {
		return protocol.ErrSigninFormat
	}
	credential, ok := app.Credential(key)
	if !ok {
		return protocol.ErrSigninKey(key)
	}
	signed := protocol.UserString(c.id, cmd.UserData)
	if !protocol.Verify(credential.Secret.Reveal(), signed, signature) {
		return protocol.ErrAuthSignature(signed, signature)
	}
	user, err := protocol.DecodeUser(cmd.UserData)
	if err != nil {
		return err
	}
	c.allowed("signin", "")
	watchlist := user.Watchlist
	user.Watchlist = nil // not kept
	if err := c.engine.signIn(c, user); err != nil {
		return err
	}
	if err := c.authorise(app); err != nil {
		return err
	}
	c.send(protocol.AppendSigninSuccess(nil, cmd.UserData))
	if app.Watchlist {
		c.watch(watchlist)
	}
	return nil
}

// watch begins to tell the client of the comings and goings of users. A list
// that is too long is cut, and the client told.
func (c *Conn) watch(ids []string) {
	ids, cut := watched(ids)
	if cut {
		c.refused("watchlist", protocol.ErrWatchlist)
		c.send(protocol.AppendError(nil, protocol.ErrWatchlist))
	}
	if len(ids) > 0 {
		c.engine.watch(c, ids)
	}
}

// maxWatched is the vendor's limit of user ids on a watchlist.
const maxWatched = 100

// watched returns the ids that count: the first so many, each once, without
// those that nobody can have.
func watched(ids []string) (kept []string, cut bool) {
	if cut = len(ids) > maxWatched; cut {
		ids = ids[:maxWatched]
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if id != "" && len(id) <= protocol.MaxUserIDLength && !seen[id] {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	return kept, cut
}
