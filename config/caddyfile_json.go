package config

import (
	"bytes"
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
)

// json parses what no other word says: JSON that is merged into that of the app (RFC 7396),
// when the rest of the block is read.
//
//	json <JSON>
func (p *caddyfileParser) json(d *caddyfile.Dispenser) error {
	const usage = "json <JSON of the iis app>, between backticks, such as `{\"listen\": [\"10.0.0.5\"]}`"
	if _, err := oneArg(d, usage); err != nil {
		return err
	}
	p.patches = append(p.patches, d.Token())
	return nil
}

// mergeJSON merges the JSON of the option json into the app.
func (p *caddyfileParser) mergeJSON() error {
	for _, token := range p.patches {
		here := atToken(token)
		present, err := json.Marshal(p.app)
		if err != nil {
			return here.WrapErr(err)
		}
		merged, err := jsondoc.MergeAny(present, []byte(token.Text))
		if err != nil {
			return here.Errf("json: %w", err)
		}
		app := new(App)
		if err := jsondoc.CheckFields([]byte(token.Text), app); err != nil {
			return here.Errf("json: %w", err)
		}
		var patch map[string]json.RawMessage
		if err := json.Unmarshal([]byte(token.Text), &patch); err == nil && len(patch) == 0 {
			return here.Errf("json: it is empty and changes nothing: remove it")
		}
		decoder := json.NewDecoder(bytes.NewReader(merged))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(app); err != nil {
			return here.Errf("json: %w", jsondoc.PlainFor(err, app))
		}
		*p.app = *app
	}
	return nil
}
