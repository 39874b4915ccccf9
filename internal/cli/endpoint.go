package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// EndpointSettings are those of a certificate by address and port that are given; what is
// nil stays as it is.
type EndpointSettings struct {
	Certificate *string
	Reject      *bool
}

// endpointAddress reads IP:port, also as netsh has it, ipport=10.0.0.5:8443.
func endpointAddress(text string) (string, error) {
	word, value, ok := strings.Cut(text, "=")
	switch {
	case ok && strings.EqualFold(word, "hostnameport"):
		return "", fmt.Errorf("%s: a certificate for a server name belongs to a binding: caddy iis add binding <site> https *:443:<host> --sni --certificate <name>", text)
	case ok && strings.EqualFold(word, "ipport"):
		text = value
	case ok:
		return "", fmt.Errorf("unknown word %q: expected ipport=<IP:port>, or the address alone", word)
	}
	ip, port, err := binding.ParseEndpoint(text)
	if err != nil {
		return "", err
	}
	if !ip.IsValid() {
		return fmt.Sprintf("0.0.0.0:%d", port), nil
	}
	return text, nil
}

func (s EndpointSettings) apply(to adminapi.EndpointConfig) error {
	put := func(field string, value any, empty bool) {
		if empty {
			delete(to, field)
			return
		}
		to[field], _ = json.Marshal(value) // texts and truth values
	}
	if s.Certificate != nil {
		put("certificate", *s.Certificate, *s.Certificate == "")
	}
	if s.Reject != nil {
		put("reject", true, !*s.Reject)
	}
	if s.Reject != nil && *s.Reject && s.Certificate == nil {
		delete(to, "certificate") // as netsh, which rejects or serves
	}
	if _, ok := to["certificate"]; !ok && to["reject"] == nil {
		return errors.New("it needs a certificate: name one with --certificate, or refuse handshakes with --reject")
	}
	return nil
}

// AddEndpoint gives an address and port a certificate, as netsh http add sslcert does.
func AddEndpoint(ctx context.Context, e *Env, address string, s EndpointSettings) error {
	return e.changeEndpoint(ctx, address, func(label string, before adminapi.EndpointConfig) (adminapi.EndpointConfig, error) {
		if before != nil {
			return nil, fmt.Errorf("endpoint %s is there already: caddy iis endpoint set changes it", label)
		}
		added := make(adminapi.EndpointConfig)
		return added, s.apply(added)
	})
}

// SetEndpoint changes one, as netsh http update sslcert does. What is not given stays.
func SetEndpoint(ctx context.Context, e *Env, address string, s EndpointSettings) error {
	return e.changeEndpoint(ctx, address, func(label string, before adminapi.EndpointConfig) (adminapi.EndpointConfig, error) {
		if before == nil {
			return nil, noEndpoint(label)
		}
		if s.Certificate != nil && s.Reject == nil {
			off := false
			s.Reject = &off
		}
		return before, s.apply(before)
	})
}

// RemoveEndpoint removes one, as netsh http delete sslcert does.
func RemoveEndpoint(ctx context.Context, e *Env, address string) error {
	return e.changeEndpoint(ctx, address, func(label string, before adminapi.EndpointConfig) (adminapi.EndpointConfig, error) {
		if before == nil {
			return nil, noEndpoint(label)
		}
		return nil, nil
	})
}

func noEndpoint(label string) error {
	return fmt.Errorf("there is no endpoint %s in the configuration: caddy iis endpoints shows what listens, and caddy iis endpoint add gives it a certificate", label)
}

func (e *Env) changeEndpoint(ctx context.Context, text string, change func(string, adminapi.EndpointConfig) (adminapi.EndpointConfig, error)) error {
	address, err := endpointAddress(text)
	if err != nil {
		return &ExitError{ExitUsage, err}
	}
	var after adminapi.EndpointConfig
	if err := e.Client.ChangeEndpoint(ctx, address, func(before adminapi.EndpointConfig) (adminapi.EndpointConfig, error) {
		after, err = change(address, before)
		return after, err
	}); err != nil {
		return err
	}
	switch {
	case after == nil:
		e.printf("endpoint %s: removed\n", address)
	case after["reject"] != nil:
		e.printf("endpoint %s: handshakes are refused\n", address)
	default:
		e.printf("endpoint %s: certificate %s\n", address, after["certificate"])
	}
	e.kept(adminapi.Site{})
	return nil
}
