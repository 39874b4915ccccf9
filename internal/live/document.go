package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
)

// Read decodes the document of a row. With an error there may be a configuration as well, as
// far as it was understood.
func (s *Source) Read(document []byte) (*config.Site, error) {
	cfg, err := decodeDocument(document)
	if err == nil {
		err = s.Routes.Take(document, cfg)
	}
	return cfg, err
}

// decodeDocument decodes a site that is a row, without its id.
func decodeDocument(document []byte) (*config.Site, error) {
	cfg := new(config.Site)
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(cfg); err != nil {
		return nil, jsondoc.PlainFor(err, cfg)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON object")
	}
	if w := cfg.W3CLog; w != nil && !reflect.DeepEqual(w, &config.W3CLog{Off: true}) {
		return cfg, errors.New(`w3c_log: only {"off": true} has a place here: the configuration says where logs are written`)
	}
	return cfg, nil
}
