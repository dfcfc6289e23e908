package main

// renewPlugins has plugins whose executables were replaced taken over by the
// new ones, if plugins.lock allows them.
func (g *gateway) renewPlugins() {
	lock, err := readPluginLock(g.config)
	if err == nil {
		err = g.host.Renew(lock)
	}
	if err != nil {
		g.log.Error().Err(err).Msg("plugin not replaced; the one that runs stays")
	}
}
