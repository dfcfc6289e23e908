package redis

import (
	_ "embed" // the scripts

	"github.com/redis/go-redis/v9"
)

// The scripts run atomically on the server, each on keys of one bucket.
var (
	//go:embed scripts/join.lua
	joinText string
	//go:embed scripts/leave.lua
	leaveText string
	//go:embed scripts/members.lua
	membersText string
	//go:embed scripts/count.lua
	countText string
	//go:embed scripts/reap.lua
	reapText string
	//go:embed scripts/beat.lua
	beatText string
	//go:embed scripts/condemn.lua
	condemnText string
	//go:embed scripts/claim.lua
	claimText string
	//go:embed scripts/arrive.lua
	arriveText string
	//go:embed scripts/depart.lua
	departText string
	//go:embed scripts/publish.lua
	publishText string
	//go:embed scripts/last.lua
	lastText string
	//go:embed scripts/take.lua
	takeText string
	//go:embed scripts/own.lua
	ownText string
	//go:embed scripts/disown.lua
	disownText string
	//go:embed scripts/move.lua
	moveText string

	joinScript    = redis.NewScript(joinText)
	leaveScript   = redis.NewScript(leaveText)
	membersScript = redis.NewScript(membersText)
	countScript   = redis.NewScript(countText)
	reapScript    = redis.NewScript(reapText)
	beatScript    = redis.NewScript(beatText)
	condemnScript = redis.NewScript(condemnText)
	claimScript   = redis.NewScript(claimText)
	arriveScript  = redis.NewScript(arriveText)
	departScript  = redis.NewScript(departText)
	publishScript = redis.NewScript(publishText)
	lastScript    = redis.NewScript(lastText)
	takeScript    = redis.NewScript(takeText)
	ownScript     = redis.NewScript(ownText)
	disownScript  = redis.NewScript(disownText)
	moveScript    = redis.NewScript(moveText)
)
