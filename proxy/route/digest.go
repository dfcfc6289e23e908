package route

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/offramp/offramp/proxy"
)

// Digest stands for where all apps are that have an upstream: two nodes whose
// digests differ route some channels differently. It says nothing of secrets.
func (r *Router) Digest() string {
	h := fnv.New64a()
	apps := slices.DeleteFunc(slices.Clone(r.settings.Apps.All()), func(a *proxy.App) bool { return a.Upstream == nil })
	slices.SortFunc(apps, func(a, b *proxy.App) int { return cmp.Compare(a.ID, b.ID) })
	for _, app := range apps {
		p := r.Position(app)
		_, _ = fmt.Fprintf(h, "%q %s %q\n", app.ID, p.Stage, p.Staff) // a hash takes everything
		for _, rule := range p.Rules {
			state := State{Stage: rule.Stage}
			if rule.Stage == proxy.StageCanary {
				state.Percent, state.By = rule.Percent, cmp.Or(rule.By, proxy.ByChannel)
			}
			_, _ = fmt.Fprintf(h, "%q %s\n", rule.Channels, state)
		}
	}
	return strconv.FormatUint(h.Sum64(), 16)
}
