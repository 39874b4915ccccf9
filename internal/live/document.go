package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
)

// Read decodes the document of a row. With an error there may be a configuration as well, as
// far as it was understood.
func (s *Source) Read(document []byte) (*config.Site, error) {
	return s.Documents().Read(document)
}

// Documents returns what decodes documents of rows, one after the other.
func (s *Source) Documents() *Documents { return &Documents{source: s} }

// Documents decodes documents of rows.
type Documents struct {
	source *Source
	decode decoding
}

// Read is Source.Read, and takes less for very many of them.
func (d *Documents) Read(document []byte) (*config.Site, error) {
	cfg, err := d.decode.document(document)
	if err == nil {
		err = d.source.Routes.Take(document, cfg)
	}
	return cfg, err
}

// decodeDocument decodes a site that is a row, without its id.
func decodeDocument(document []byte) (*config.Site, error) { return new(decoding).document(document) }

// decoding decodes documents with one decoder, for which they are a stream: to make one and
// its buffer takes as long as to decode a document.
type decoding struct {
	text    bytes.Reader
	decoder *json.Decoder // nil before the first one, and after one at whose end it is not
}

func (d *decoding) document(document []byte) (*config.Site, error) {
	if d.decoder == nil {
		d.decoder = json.NewDecoder(&d.text)
		d.decoder.DisallowUnknownFields()
	}
	decoder := d.decoder
	d.decoder = nil
	d.text.Reset(document)
	cfg, start := new(config.Site), decoder.InputOffset()
	if err := decoder.Decode(cfg); err != nil {
		return nil, jsondoc.PlainFor(err, cfg)
	}
	switch rest := document[decoder.InputOffset()-start:]; {
	case len(rest) == 0:
		d.decoder = decoder
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("there is more than one JSON object")
	}
	if w := cfg.W3CLog; w != nil && !reflect.DeepEqual(w, &config.W3CLog{Off: true}) {
		return cfg, errors.New(`w3c_log: only {"off": true} has a place here: the configuration says where logs are written`)
	}
	return cfg, nil
}
