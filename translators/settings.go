package translators

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Settings are what an operator wrote under a backend's "settings", decoded
// from YAML or JSON, with secrets already resolved.
type Settings map[string]any

// Problem is one mistake in a translator's settings.
type Problem struct {
	Path string // of the setting, such as "servers[1]"
	What string // what is wrong, and what would be right
}

// Problems are all mistakes in a translator's settings. As an error it is one
// line per problem.
type Problems []Problem

// Error implements error.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = fmt.Sprintf("settings.%s: %s", p.Path, p.What)
	}
	return strings.Join(lines, "\n")
}

// Validate returns every problem of settings, in the order of their names.
func (s Schema) Validate(settings Settings) Problems {
	var problems Problems
	for _, name := range s.Required {
		if _, ok := settings[name]; !ok {
			problems = append(problems, Problem{name, "is required" + note(s.Properties[name].Description)})
		}
	}
	for name, value := range settings {
		p, ok := s.Properties[name]
		if !ok {
			problems = append(problems, Problem{name, "is not a setting; there are " + strings.Join(s.names(), ", ")})
			continue
		}
		problems = append(problems, p.validate(name, value)...)
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return problems
}

func note(description string) string {
	if description == "" {
		return ""
	}
	return ": " + description
}

func (p Property) validate(path string, value any) Problems {
	switch p.Type {
	case "array":
		return p.validateList(path, value)
	case "string":
		return p.validateText(path, value)
	case "boolean":
		if _, ok := value.(bool); !ok {
			return Problems{{path, fmt.Sprintf("is %v; it must be true or false", p.show(value))}}
		}
		return nil
	default:
		return p.validateNumber(path, value)
	}
}

func (p Property) validateList(path string, value any) Problems {
	list := reflect.ValueOf(value)
	if list.Kind() != reflect.Slice {
		return Problems{{path, fmt.Sprintf("is %v; it must be a list", p.show(value))}}
	}
	var problems Problems
	for i := range list.Len() {
		problems = append(problems, p.Items.validate(fmt.Sprintf("%s[%d]", path, i), list.Index(i).Interface())...)
	}
	return problems
}

func (p Property) validateText(path string, value any) Problems {
	text, ok := textOf(value)
	switch {
	case !ok:
		return Problems{{path, fmt.Sprintf("is %v; it must be text", p.show(value))}}
	case p.Format == formatDuration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return Problems{{path, fmt.Sprintf("is %q; it must be a duration such as 500ms or 10s", text)}}
		}
		return p.validateRange(path, d.Seconds(), " seconds")
	case len(p.Enum) > 0 && !slices.Contains(p.Enum, text):
		return Problems{{path, fmt.Sprintf("is %q; it must be one of %s", text, strings.Join(p.Enum, ", "))}}
	}
	return nil
}

func (p Property) validateNumber(path string, value any) Problems {
	n, ok := numberOf(value)
	if !ok || (p.Type == "integer" && n != math.Trunc(n)) {
		article := "a"
		if p.Type == "integer" {
			article = "an"
		}
		return Problems{{path, fmt.Sprintf("is %v; it must be %s %s", p.show(value), article, p.Type)}}
	}
	return p.validateRange(path, n, "")
}

func (p Property) validateRange(path string, n float64, unit string) Problems {
	switch {
	case p.Minimum != nil && n < *p.Minimum:
		return Problems{{path, fmt.Sprintf("is %v%s; it must be at least %v", n, unit, *p.Minimum)}}
	case p.Maximum != nil && n > *p.Maximum:
		return Problems{{path, fmt.Sprintf("is %v%s; it must be at most %v", n, unit, *p.Maximum)}}
	}
	return nil
}

// show keeps a secret of the wrong type out of an error text.
func (p Property) show(value any) any {
	if p.WriteOnly {
		return proxy.Secret{}
	}
	return fmt.Sprintf("%#v", value)
}

// Decode fills a settings struct, which into points to, as SchemaOf describes
// it. Absent settings get their defaults. The error is a Problems.
func (s Settings) Decode(into any) error {
	target := reflect.ValueOf(into).Elem()
	schema := SchemaOf(into)
	if problems := schema.Validate(s); len(problems) > 0 {
		return problems
	}
	for _, f := range settingFields(target.Type()) {
		value, ok := s[f.name]
		if !ok {
			value = schema.Properties[f.name].Default
		}
		if value != nil {
			assign(target.FieldByIndex(f.field.Index), value)
		}
	}
	return nil
}

// assign sets a field to a value that its property has found valid.
func assign(field reflect.Value, value any) {
	switch field.Interface().(type) {
	case proxy.Secret:
		text, _ := textOf(value)
		field.Set(reflect.ValueOf(proxy.NewSecret(text)))
		return
	case time.Duration:
		text, _ := textOf(value)
		d, _ := time.ParseDuration(text)
		field.SetInt(int64(d))
		return
	}
	switch field.Kind() {
	case reflect.String:
		text, _ := textOf(value)
		field.SetString(text)
	case reflect.Bool:
		field.SetBool(value.(bool))
	case reflect.Int, reflect.Int64:
		n, _ := numberOf(value)
		field.SetInt(int64(n))
	case reflect.Float64:
		n, _ := numberOf(value)
		field.SetFloat(n)
	case reflect.Slice:
		list := reflect.ValueOf(value)
		texts := reflect.MakeSlice(field.Type(), list.Len(), list.Len())
		for i := range list.Len() {
			text, _ := textOf(list.Index(i).Interface())
			texts.Index(i).SetString(text)
		}
		field.Set(texts)
	}
}

func textOf(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case proxy.Secret:
		return v.Reveal(), true
	}
	return "", false
}

func numberOf(value any) (float64, bool) {
	v := reflect.ValueOf(value)
	switch {
	case !v.IsValid():
		return 0, false
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}
