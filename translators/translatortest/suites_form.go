package translatortest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// checkDescribe: suite "describe".
func checkDescribe(ctx context.Context, k *kit) error {
	if err := k.description.Check(); err != nil {
		return err
	}
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	again, err := p.instance.client.Describe(ctx)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(again, k.description) {
		return errors.New("the description is another one once the session is open")
	}
	for feature, ability := range map[translators.Feature]string{
		translators.FeatureSubscribe: plugins.AbilitySubscribe,
		translators.FeaturePresence:  plugins.AbilityPresence,
		translators.FeatureQuery:     plugins.AbilityQuery,
	} {
		declared := k.description.Features[feature].Level > translators.Unsupported
		if has := p.opened.Can(ability); has != declared {
			return fmt.Errorf("feature %s is declared %s, but that the session implements it is %v",
				feature, k.description.Features[feature].Level, has)
		}
	}
	return nil
}

// checkSettings: suite "settings".
func checkSettings(ctx context.Context, k *kit) error {
	i, err := k.start(ctx)
	if err != nil {
		return err
	}
	defer i.stop()
	odd := translators.Settings{"no_such_setting": 1}
	for name, value := range k.options.Settings {
		odd[name] = value
	}
	if err := refused(ctx, i.client, odd, "no_such_setting"); err != nil {
		return err
	}
	for _, required := range k.description.Settings.Required {
		less := translators.Settings{}
		for name, value := range k.options.Settings {
			if name != required {
				less[name] = value
			}
		}
		if err := refused(ctx, i.client, less, required); err != nil {
			return err
		}
	}
	return nil
}

// refused checks that neither Validate nor Open accepts settings, and that
// both name the setting that is wrong.
func refused(ctx context.Context, c *plugins.Client, s translators.Settings, path string) error {
	problems, err := c.Validate(ctx, s)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(problems, func(p translators.Problem) bool { return p.Path == path }) {
		return fmt.Errorf("setting %q is wrong, but validation says: %w", path, problems)
	}
	_, err = c.Open(ctx, translators.Binding{App: app, Backend: "kit", Role: proxy.RoleShadow, Gateway: gateway, Settings: s})
	if _, ok := errors.AsType[translators.Problems](err); !ok {
		return fmt.Errorf("a session with a wrong setting %q was opened, or refused for another reason: %w", path, err)
	}
	return nil
}

// checkPreview: suite "preview".
func checkPreview(ctx context.Context, k *kit) error {
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	if !p.opened.Can(plugins.AbilityPreview) {
		return skip("the session has no preview")
	}
	forms := map[string]protocol.ChannelName{}
	for _, channel := range channelNames(k, 300) {
		native, _, err := p.instance.client.Preview(ctx, translators.Envelope{App: app, Channel: channel, Event: "e", Data: []byte("d")})
		if err != nil {
			return err
		}
		form := native.Destination + "\x00" + fmt.Sprint(native.Headers) + "\x00" + string(native.Body)
		if other, taken := forms[form]; taken {
			return fmt.Errorf("channels %q and %q have the same native form: %s", other, channel, native.Destination)
		}
		forms[form] = channel
	}
	return nil
}

// nameAlphabet is what channel names may consist of.
const nameAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;"

// channelNames returns names that are easily mixed up, names at the longest
// length, and n random ones. All are distinct, and of this run.
func channelNames(k *kit, n int) []protocol.ChannelName {
	stem := string(k.channel(""))
	var names []string
	for _, tail := range []string{
		"a", "A", "a.", ".a", "a..b", "a.b", "a-b", "a_b", "a;b", "a,b", "a=b", "a@b", "a.b.c", "a%2Eb", "-", "..", "private-x",
	} {
		if protocol.ChannelName(stem + tail).Valid(protocol.DefaultChannelNameLength) {
			names = append(names, stem+tail)
		}
	}
	for _, prefix := range []string{"private-", "presence-", "private-encrypted-", "cache-", "private-cache-", "#server-to-user-"} {
		names = append(names, prefix+stem)
	}
	longest := k.longestName()
	for _, c := range nameAlphabet {
		names = append(names, stem+"each"+string(c))
	}
	names = append(names, stem+strings.Repeat(".", longest-len(stem)), stem+strings.Repeat("x", longest-len(stem)))
	for i := range n {
		length := rand.IntN(longest - len(stem) - 4)
		names = append(names, fmt.Sprintf("%s%d-%s", stem, i, randomName(length)))
	}
	unique := map[string]bool{}
	var channels []protocol.ChannelName
	for _, name := range names {
		name = name[:min(len(name), longest)]
		if !unique[name] {
			unique[name] = true
			channels = append(channels, protocol.ChannelName(name))
		}
	}
	return channels
}

func (k *kit) longestName() int {
	if l := k.description.Limits.ChannelNameBytes; l > 0 {
		return min(l, protocol.DefaultChannelNameLength)
	}
	return protocol.DefaultChannelNameLength
}

func randomName(length int) string {
	var b strings.Builder
	for range length {
		b.WriteByte(nameAlphabet[rand.IntN(len(nameAlphabet))])
	}
	return b.String()
}
