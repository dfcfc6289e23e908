package translators

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Schema is the JSON Schema of a translator's settings: a flat object. It
// marshals to JSON as such, and drives validation and the settings page.
type Schema struct {
	Type                 string              `json:"type"` // "object"
	Properties           map[string]Property `json:"properties"`
	Required             []string            `json:"required,omitempty"`
	AdditionalProperties bool                `json:"additionalProperties"`
}

// Property is one setting.
type Property struct {
	Type        string    `json:"type"` // string, boolean, integer, number, array
	Format      string    `json:"format,omitempty"`
	Description string    `json:"description,omitempty"`
	Default     any       `json:"default,omitempty"`
	Enum        []string  `json:"enum,omitempty"`
	Minimum     *float64  `json:"minimum,omitempty"`
	Maximum     *float64  `json:"maximum,omitempty"`
	Items       *Property `json:"items,omitempty"`
	// WriteOnly marks a secret: it is never shown again once set.
	WriteOnly bool `json:"writeOnly,omitempty"`
}

// formatDuration marks a string that time.ParseDuration reads.
const formatDuration = "duration"

// SchemaOf returns the schema of a settings struct. Its fields are strings,
// booleans, integers, floats, time.Durations, proxy.Secrets or slices of
// strings, with these tags:
//
//	setting:"url,required"   name of the setting; "required" when it has no default
//	default:"5s"             what it is when absent
//	enum:"core,jetstream"    the values it may have
//	min:"1" max:"100"        bounds of a number, or of a duration in seconds
//	doc:"Where to connect."  a sentence for the settings page
//
// Fields without a setting tag are left out. A field of another type or a
// default that does not fit is reported by Schema.Check.
func SchemaOf(settings any) Schema {
	s := Schema{Type: "object", Properties: map[string]Property{}}
	t := reflect.Indirect(reflect.ValueOf(settings)).Type()
	for _, f := range settingFields(t) {
		s.Properties[f.name] = propertyOf(f.field)
		if f.required {
			s.Required = append(s.Required, f.name)
		}
	}
	return s
}

type settingField struct {
	name     string
	required bool
	field    reflect.StructField
}

func settingFields(t reflect.Type) []settingField {
	var fields []settingField
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("setting")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		fields = append(fields, settingField{name: name, required: option == "required", field: t.Field(i)})
	}
	return fields
}

func propertyOf(f reflect.StructField) Property {
	p := Property{Description: f.Tag.Get("doc"), Minimum: bound(f.Tag, "min"), Maximum: bound(f.Tag, "max")}
	switch {
	case f.Type == reflect.TypeFor[proxy.Secret]():
		p.Type, p.WriteOnly = "string", true
	case f.Type == reflect.TypeFor[time.Duration]():
		p.Type, p.Format = "string", formatDuration
	case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.String:
		p.Type, p.Items = "array", &Property{Type: "string"}
	default:
		p.Type = jsonType(f.Type.Kind())
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		p.Enum = strings.Split(enum, ",")
	}
	if text, ok := f.Tag.Lookup("default"); ok {
		p.Default = defaultOf(p, text)
	}
	return p
}

func jsonType(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	default:
		return ""
	}
}

// defaultOf reads a default as its type says. One that cannot be read stays
// text, which Check then refuses.
func defaultOf(p Property, text string) any {
	switch p.Type {
	case "boolean":
		if v, err := strconv.ParseBool(text); err == nil {
			return v
		}
	case "integer", "number":
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v
		}
	case "array":
		var list []any
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, part)
		}
		return list
	}
	return text
}

func bound(tag reflect.StructTag, key string) *float64 {
	v, err := strconv.ParseFloat(tag.Get(key), 64)
	if err != nil {
		return nil
	}
	return &v
}

// Check reports what an author got wrong in the struct behind the schema.
func (s Schema) Check() error {
	for _, name := range s.names() {
		p := s.Properties[name]
		if name == "" || p.Type == "" {
			return fmt.Errorf("setting %q: its field has a type that settings cannot have; use string, bool, int, "+
				"float64, time.Duration, proxy.Secret or []string", name)
		}
		if p.Default == nil {
			continue
		}
		if problems := p.validate(name, p.Default); len(problems) > 0 {
			return fmt.Errorf("default of %w", problems)
		}
	}
	return nil
}

// names returns the settings' names: the required ones first.
func (s Schema) names() []string {
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		ra, rb := slices.Contains(s.Required, a), slices.Contains(s.Required, b)
		switch {
		case ra && !rb:
			return -1
		case rb && !ra:
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}

// Markdown returns the settings page: a table, required settings first.
func (s Schema) Markdown() string {
	var b strings.Builder
	b.WriteString("| setting | type | default | meaning |\n|---|---|---|---|\n")
	for _, name := range s.names() {
		p := s.Properties[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, p.typeText(), s.defaultText(name), p.meaning())
	}
	return b.String()
}

func (p Property) typeText() string {
	switch {
	case p.WriteOnly:
		return "secret"
	case p.Format != "":
		return p.Format
	case p.Type == "array":
		return "list of " + p.Items.Type + "s"
	}
	return p.Type
}

func (s Schema) defaultText(name string) string {
	switch d := s.Properties[name].Default; {
	case slices.Contains(s.Required, name):
		return "required"
	case d == nil:
		return ""
	default:
		return fmt.Sprintf("`%v`", d)
	}
}

func (p Property) meaning() string {
	text := p.Description
	if len(p.Enum) > 0 {
		text += " One of `" + strings.Join(p.Enum, "`, `") + "`."
	}
	if p.Minimum != nil {
		text += " At least " + p.boundText(*p.Minimum) + "."
	}
	if p.Maximum != nil {
		text += " At most " + p.boundText(*p.Maximum) + "."
	}
	return strings.TrimSpace(strings.ReplaceAll(text, "|", `\|`))
}

// boundText returns a bound as an operator would write the value.
func (p Property) boundText(bound float64) string {
	if p.Format == formatDuration {
		return time.Duration(bound * float64(time.Second)).String()
	}
	return fmt.Sprint(bound)
}
