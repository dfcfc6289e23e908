package transcript

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/offramp/offramp/proxy"
)

// configureAll changes an app as an app step says.
func configureAll(app *proxy.App, settings string) error {
	on := true
	for word := range strings.FieldsSeq(settings) {
		if word == "no" {
			on = false
			continue
		}
		if err := configure(app, word, on); err != nil {
			return err
		}
		on = true
	}
	return nil
}

func configure(app *proxy.App, setting string, on bool) error {
	name, value, _ := strings.Cut(setting, "=")
	switch name {
	case "client_events":
		app.ClientEvents = on
	case "subscription_counting":
		app.SubscriptionCounting = on
	case "watchlist":
		app.Watchlist = on
	case "authorized_connections":
		app.AuthorizedConnections = on
	case "enabled":
		app.Enabled = on
	case "more_key":
		key, secret, _ := strings.Cut(value, ":")
		app.Credentials = append(slices.Clip(app.Credentials), proxy.Credential{Key: key, Secret: proxy.NewSecret(secret)})
	case "connections":
		n, err := strconv.Atoi(value)
		app.Limits.Connections = n
		return err
	default:
		return fmt.Errorf("no such setting: %q", setting)
	}
	return nil
}
