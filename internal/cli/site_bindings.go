package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// Bindings lists the bindings of a site as it is configured, in either form.
func Bindings(cfg adminapi.SiteConfig) ([]NewBinding, error) {
	var all []NewBinding
	for _, list := range []bindingList{serverBindings, secureBindings} {
		values, err := cfg.Strings(list.field)
		if err != nil {
			return nil, err
		}
		for _, info := range values {
			all = append(all, NewBinding{Protocol: list.protocol, Binding: bindingKey(list.protocol, info)})
		}
	}
	objects, err := cfg.Bindings()
	for _, b := range objects {
		all = append(all, NewBinding{
			Protocol: strings.ToLower(b.Protocol), Binding: bindingKey(b.Protocol, b.Binding), Flags: b.Flags, Certificate: b.Certificate,
		})
	}
	return all, err
}

// PutBinding adds a binding to the configuration of a site, as AddBinding does.
func PutBinding(cfg *adminapi.SiteConfig, b NewBinding) error {
	parsed, err := b.parse()
	if err != nil {
		return err
	}
	err = b.addTo(cfg, parsed)
	if errors.Is(err, adminapi.ErrDone) {
		return fmt.Errorf("the site has the binding %s %s already", parsed.Protocol, parsed)
	}
	return err
}

// DropBinding removes a binding from the configuration of a site, as RemoveBinding does.
func DropBinding(cfg *adminapi.SiteConfig, protocol, info string) error {
	lists, err := listsOf(protocol, info)
	if err != nil {
		return err
	}
	left, err := lists[0].without(*cfg, info)
	if err != nil {
		return err
	}
	if left == nil {
		return fmt.Errorf("the site has no binding %s %s any more", protocol, info)
	}
	return lists[0].replace(cfg, left)
}

// EditBinding puts a binding in the place of another one. What else stands with that,
// such as TLS settings, stays.
func EditBinding(cfg *adminapi.SiteConfig, protocol, info string, b NewBinding) error {
	parsed, err := b.parse()
	if err != nil {
		return err
	}
	objects, err := cfg.Bindings()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(objects, func(o adminapi.SiteBinding) bool {
		return strings.EqualFold(o.Protocol, protocol) && bindingKey(o.Protocol, o.Binding) == bindingKey(protocol, info)
	})
	if i < 0 || parsed.Protocol.String() != strings.ToLower(protocol) {
		if err := DropBinding(cfg, protocol, info); err != nil {
			return err
		}
		return PutBinding(cfg, b)
	}
	all, err := Bindings(*cfg)
	if err != nil {
		return err
	}
	same := func(o NewBinding) bool { return o.Protocol == parsed.Protocol.String() && o.Binding == parsed.String() }
	if parsed.String() != bindingKey(protocol, info) && slices.ContainsFunc(all, same) {
		return fmt.Errorf("the site has the binding %s %s already", parsed.Protocol, parsed)
	}
	objects[i].Binding, objects[i].Flags, objects[i].Certificate = parsed.String(), b.Flags, b.Certificate
	return cfg.SetBindings(objects)
}

// HasSNI tells whether the certificate is chosen by server name.
func (b NewBinding) HasSNI() bool { return b.Flags&uint16(binding.FlagSNI) != 0 }
