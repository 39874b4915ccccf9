package serve

import (
	"encoding/json"

	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

// BeforeOwn calls a function before routes of a row are made, in configurations that are
// loaded from now on, until its result is called.
func BeforeOwn(before func(routes string) error) (end func()) {
	was := makeOwn
	makeOwn = func(a *Instance) ownProvisioner {
		return func(routes json.RawMessage, group *upgrades.Group, own *ownContent) (made ownHandlers, err error) {
			if err := before(string(routes)); err != nil {
				return made, err
			}
			return a.provisionOwn(routes, group, own)
		}
	}
	return func() { makeOwn = was }
}
