package configs

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/proxy"
)

// secret takes a credential as text, as {env: NAME} or as {file: PATH}.
func secret(key string, target *proxy.Secret) setting {
	return setting{key: key, takes: "text, {env: NAME} or {file: PATH}", read: func(r *reader, path string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			if value, ok := r.scalar(path, n, "text, {env: NAME} or {file: PATH}"); ok && r.checked(path, value, []check{filled}) {
				*target = proxy.NewSecret(value)
			}
			return
		}
		if value, ok := r.reference(path, n); ok {
			*target = value
		}
	}}
}

// reference resolves {env: NAME} and {file: PATH}.
func (r *reader) reference(path string, n *yaml.Node) (proxy.Secret, bool) {
	const fix = "Write {env: NAME} or {file: PATH}"
	if len(n.Content) != 2 || n.Content[0].Kind != yaml.ScalarNode {
		r.problem(path, "A secret's section must have exactly one key", fix)
		return proxy.Secret{}, false
	}
	kind := n.Content[0].Value
	if kind != "env" && kind != "file" {
		r.problem(join(path, clip(kind)), "A secret cannot come from there", fix)
		return proxy.Secret{}, false
	}
	path = join(path, kind)
	r.places[path] = place{n.Content[1].Line, n.Content[1].Column}
	name, ok := r.scalar(path, n.Content[1], "text")
	if !ok || !r.checked(path, name, []check{filled}) {
		return proxy.Secret{}, false
	}
	if kind == "env" {
		return r.fromEnvironment(path, name)
	}
	return r.fromFile(path, name)
}

func (r *reader) fromEnvironment(path, name string) (proxy.Secret, bool) {
	value, set := r.env(name)
	if !set || value == "" {
		state := "not set"
		if set {
			state = "empty"
		}
		r.problem(path, "The environment variable "+clip(name)+" is "+state, "Set it for the process that runs offramp")
		return proxy.Secret{}, false
	}
	return proxy.NewSecret(value), true
}

// fromFile reads a secret file; one line break at its end is not part of the
// secret.
func (r *reader) fromFile(path, name string) (proxy.Secret, bool) {
	name = r.resolve(name)
	text, err := readBounded(name, maxSecretBytes)
	if err != nil {
		r.problem(path, fileProblem(err)+" ("+clip(name)+")", "Create it, readable by the user that runs offramp, with the secret as its only content")
		return proxy.Secret{}, false
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		r.problem(path, "The file "+clip(name)+" is empty", "Put the secret into it")
		return proxy.Secret{}, false
	}
	return proxy.NewSecret(value), true
}

// anything takes any YAML: a translator's own settings, which the translator
// checks. Wherever a section is {env: NAME} or {file: PATH} it is a secret.
func anything(key string, target *map[string]any) setting {
	return setting{key: key, takes: "a section that the plugin describes", read: func(r *reader, path string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			r.problem(path, "This must be a section, not "+describe(n), "Write the plugin's settings as key: value")
			return
		}
		*target = r.openMapping(path, n)
	}}
}

// openMapping converts a section to a map.
func (r *reader) openMapping(path string, n *yaml.Node) map[string]any {
	values := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := place{key.Line, key.Column}
		full := join(path, clip(key.Value))
		if key.Kind != yaml.ScalarNode {
			r.problemAt(at, path, "A key must be plain text, not "+describe(key), "Use the names that the plugin describes")
			continue
		}
		if _, twice := values[key.Value]; twice {
			r.problemAt(at, full, "The setting is given twice", "Keep one of the two")
			continue
		}
		r.places[full] = place{value.Line, value.Column}
		values[key.Value] = r.openValue(full, value)
	}
	return values
}

// openValue converts a value to what it would be in JSON; a section that
// stands for a secret becomes the secret.
func (r *reader) openValue(path string, n *yaml.Node) any {
	switch {
	case n.Kind == yaml.MappingNode && isReference(n):
		value, _ := r.reference(path, n)
		return value
	case n.Kind == yaml.MappingNode:
		return r.openMapping(path, n)
	case n.Kind == yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		r.sequence(path, n, func(path string, n *yaml.Node) { list = append(list, r.openValue(path, n)) })
		return list
	case n.Tag == "!!timestamp":
		return n.Value
	}
	var value any
	if err := n.Decode(&value); err != nil {
		r.problem(path, "The value cannot be read", "Quote it")
	}
	return value
}

// isReference reports whether a section stands for a secret.
func isReference(n *yaml.Node) bool {
	return len(n.Content) == 2 && (n.Content[0].Value == "env" || n.Content[0].Value == "file") &&
		n.Content[1].Kind == yaml.ScalarNode
}
