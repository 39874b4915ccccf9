package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/caddy-iis/caddy-iis/binding"
)

// EndpointConfig is an endpoint as it is configured, with all that others have put there.
type EndpointConfig map[string]json.RawMessage

const endpointsPath = "/config/apps/iis/endpoints"

// ChangeEndpoint changes the certificate of an IP address and port in the configuration,
// in whatever form its key is written there. The function is called with what is there,
// nil for nothing, and returns what is to be there; nil removes it. It is called again
// when somebody else has changed the endpoints meanwhile.
func (c *Client) ChangeEndpoint(ctx context.Context, address string, change func(EndpointConfig) (EndpointConfig, error)) error {
	ip, port, err := binding.ParseEndpoint(address)
	if err != nil {
		return err
	}
	return c.repeat(ctx, func(asked *SiteConfig) error {
		var all map[string]EndpointConfig
		etag := ""
		a, err := c.get(ctx, endpointsPath)
		switch err = absent(err); {
		case errors.Is(err, ErrNoSite):
			return errors.New("no iis app is configured: add the iis option, or apps.iis, to the configuration")
		case err != nil:
			return err
		}
		if err := json.Unmarshal(a.body, &all); err != nil {
			return fmt.Errorf("the endpoints have an unexpected form in the configuration: %w", err)
		}
		if all != nil {
			etag = a.etag
		}
		key, method := address, http.MethodPut
		for other := range all {
			if i, p, err := binding.ParseEndpoint(other); err == nil && i == ip && p == port {
				key, method = other, http.MethodPatch
			}
		}
		if asked.fields != nil && asked.equal(SiteConfig{all[key]}) {
			return nil // the request whose answer was lost has done it
		}
		wanted, err := change(maps.Clone(all[key]))
		if err != nil {
			return err
		}
		*asked = SiteConfig{wanted}
		if wanted == nil {
			asked.fields = map[string]json.RawMessage{}
		}
		var body []byte
		if wanted == nil {
			method = http.MethodDelete
		} else if body, err = json.Marshal(wanted); err != nil {
			return err
		}
		_, err = c.do(ctx, method, endpointsPath+"/"+url.PathEscape(key), etag, body)
		if hasStatus(err, http.StatusConflict) && method == http.MethodPut {
			asked.fields = nil // somebody else has added it
			return errAgain
		}
		return err
	})
}
