package translators

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	versionPattern = regexp.MustCompile(`^\d+\.\d+\.\d+([-+].+)?$`)
)

// Check reports what an author got wrong in a description.
func (d Description) Check() error {
	var errs []error
	if !namePattern.MatchString(d.Name) {
		errs = append(errs, fmt.Errorf("name %q: use 1 to 40 of a-z 0-9 _ -, starting with a letter", d.Name))
	}
	if !versionPattern.MatchString(d.Version) {
		errs = append(errs, fmt.Errorf("version %q: use a semantic version such as 1.0.0", d.Version))
	}
	for feature, f := range d.Features {
		if !slices.Contains(Features(), feature) {
			errs = append(errs, fmt.Errorf("feature %q is not one that translators rate", feature))
		}
		if f.Level == Lossy && f.Note == "" {
			errs = append(errs, fmt.Errorf("feature %s is lossy: its note must say what is lost", feature))
		}
	}
	return errors.Join(append(errs, d.Settings.Check())...)
}
