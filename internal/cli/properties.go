package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// property is a property of a site in the metabase.
type property struct {
	name string
	list bool

	// read returns the value: a list of texts, a text, a number or a bool;
	// nil if the property is not set.
	read func(context.Context, *Env, node, adminapi.SiteConfig) (any, error)

	// echo is what SET prints after the name, before anything is changed.
	echo func(values []string) (string, error)

	// write and remove change the site. They are nil for what is read-only.
	write  func(site *adminapi.SiteConfig, values []string) error
	remove func(site *adminapi.SiteConfig) error
}

// properties lists the properties in the order of ENUM.
func properties() []property {
	return []property{
		{name: "ServerState", read: readState},
		{
			name: "ServerComment", read: readComment, echo: echoText,
			write:  func(site *adminapi.SiteConfig, values []string) error { return site.Set("name", values[0]) },
			remove: func(site *adminapi.SiteConfig) error { site.Delete("name"); return nil },
		},
		{
			name: "ServerAutoStart", read: readAutoStart, echo: echoBool,
			write: func(site *adminapi.SiteConfig, values []string) error {
				on, err := parseBool(values[0])
				return errors.Join(err, site.Set("autostart", on))
			},
			remove: func(site *adminapi.SiteConfig) error { site.Delete("autostart"); return nil },
		},
		serverBindings.property("ServerBindings"),
		secureBindings.property("SecureBindings"),
	}
}

// Properties names the properties of a site.
func Properties() []string {
	var names []string
	for _, p := range properties() {
		names = append(names, p.name)
	}
	return names
}

// findProperty finds a property by its name in any case.
func findProperty(name string) (property, bool) {
	for _, p := range properties() {
		if strings.EqualFold(p.name, name) {
			return p, true
		}
	}
	return property{}, false
}

// The values of ServerState.
const (
	serverStarted = 2
	serverStopped = 4
)

// readState asks for the state of the running site: a site can be stopped by
// more than its own configuration.
func readState(ctx context.Context, e *Env, n node, _ adminapi.SiteConfig) (any, error) {
	site, err := e.Client.Site(ctx, n.site)
	if err != nil {
		return nil, err
	}
	if site.State == adminapi.StateStarted {
		return serverStarted, nil
	}
	return serverStopped, nil
}

func readComment(_ context.Context, _ *Env, _ node, site adminapi.SiteConfig) (any, error) {
	var name string
	if err := site.Get("name", &name); err != nil || name == "" {
		return nil, err
	}
	return name, nil
}

func readAutoStart(_ context.Context, _ *Env, _ node, site adminapi.SiteConfig) (any, error) {
	on := true
	err := site.Get("autostart", &on)
	return on, err
}

func echoText(values []string) (string, error) { return scalar(values[0]), nil }

func echoBool(values []string) (string, error) {
	on, err := parseBool(values[0])
	return scalar(on), err
}

// invalidValueError is the error of a value that no property of its kind has.
type invalidValueError struct{ message string }

// Error implements error.
func (e *invalidValueError) Error() string { return e.message }

// parseBool reads a boolean as VBScript does: True, False or a number.
func parseBool(text string) (bool, error) {
	switch {
	case strings.EqualFold(text, "true"):
		return true, nil
	case strings.EqualFold(text, "false"):
		return false, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false, &invalidValueError{fmt.Sprintf("%q is not True or False", text)}
	}
	return n != 0, nil
}

// bindingList is a list of bindings in the metabase: all bindings of one
// protocol, whatever form the configuration has them in.
type bindingList struct {
	protocol string
	field    string // the configuration's own list in the form of IIS 6
}

var (
	serverBindings = bindingList{"http", "server_bindings"}
	secureBindings = bindingList{"https", "secure_bindings"}
)

func (l bindingList) property(name string) property {
	return property{
		name: name, list: true,
		read: func(_ context.Context, _ *Env, _ node, site adminapi.SiteConfig) (any, error) {
			values, err := l.values(site)
			if err != nil || len(values) == 0 {
				return nil, err
			}
			return values, nil
		},
		echo: func(values []string) (string, error) {
			var sb strings.Builder
			sb.WriteString("(LIST) ")
			for _, v := range values {
				sb.WriteString(`"` + v + `" `)
			}
			return sb.String(), nil
		},
		write:  func(site *adminapi.SiteConfig, values []string) error { return l.replace(site, values) },
		remove: func(site *adminapi.SiteConfig) error { return l.replace(site, nil) },
	}
}

// values lists the bindings in the form of IIS 6: those of the list as they
// were typed, then the others.
func (l bindingList) values(site adminapi.SiteConfig) ([]string, error) {
	values, err := site.Strings(l.field)
	if err != nil {
		return nil, err
	}
	objects, err := site.Bindings()
	for _, b := range objects {
		if !strings.EqualFold(b.Protocol, l.protocol) {
			continue
		}
		info := b.Binding
		if parsed, err := binding.Parse(b.Protocol, info); err == nil {
			info = parsed.SecureString()
		}
		values = append(values, info)
	}
	return values, err
}

// replace makes the values the whole list. Bindings in the form of IIS 7 that
// are among them stay as they are, with flags and certificate.
func (l bindingList) replace(site *adminapi.SiteConfig, values []string) error {
	objects, err := site.Bindings()
	if err != nil {
		return err
	}
	wanted := make(map[string]bool)
	for _, v := range values {
		wanted[bindingKey(l.protocol, v)] = true
	}
	stays := make(map[string]bool)
	objects = slices.DeleteFunc(objects, func(b adminapi.SiteBinding) bool {
		if !strings.EqualFold(b.Protocol, l.protocol) {
			return false
		}
		key := bindingKey(l.protocol, b.Binding)
		if wanted[key] {
			stays[key] = true
		}
		return !wanted[key]
	})
	var list []string
	for _, v := range values {
		if !stays[bindingKey(l.protocol, v)] {
			list = append(list, v)
		}
	}
	if err := site.SetBindings(objects); err != nil {
		return err
	}
	return site.SetStrings(l.field, list)
}

// bindingKey is equal for bindings that mean the same. A text that is no
// binding is equal to itself only; the server says what is wrong with it.
func bindingKey(protocol, info string) string {
	parsed, err := binding.Parse(protocol, info)
	if err != nil {
		return strings.TrimSpace(info)
	}
	return parsed.String()
}
