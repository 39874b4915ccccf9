// Package accesslog has the encoder iis_w3c, which writes Caddy's access logs as IIS
// writes its logs.
package accesslog

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-iis/caddy-iis/iislog"
)

func init() {
	caddy.RegisterModule(new(Encoder))
}

// Encoder writes access logs in the W3C extended log file format of IIS. An entry that
// is not of an access log becomes a line #Remark, which readers of such logs pass over.
//
// The fields s-ip, s-port, s-sitename, s-computername, sc-substatus and sc-win32-status are
// those of the entry if it has them under these names, as log_append writes them.
type Encoder struct {
	// The fields of a line, as they stand behind #Fields, in this order; cs(<header>) and
	// sc(<header>) for headers of requests and of responses. Default: those of IIS 10.
	Fields []string `json:"fields,omitempty"`

	// Headers under names of their own, behind the other fields.
	CustomFields []iislog.CustomField `json:"custom_fields,omitempty"`

	*zapcore.MapObjectEncoder `json:"-"`

	format   *iislog.Format
	computer string
	others   zapcore.Encoder // of entries that are not of an access log
	stream   *stream
	key      string // of stream among streams; empty if it is not shared
}

// CaddyModule returns the Caddy module information.
func (*Encoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.iis_w3c", New: func() caddy.Module { return new(Encoder) }}
}

// Provision implements caddy.Provisioner.
func (e *Encoder) Provision(caddy.Context) (err error) {
	if e.format, err = iislog.NewFormat(e.Fields, e.CustomFields); err != nil {
		return fmt.Errorf("iis_w3c: %w", err)
	}
	e.MapObjectEncoder = zapcore.NewMapObjectEncoder()
	e.computer, _ = os.Hostname()
	config := zap.NewProductionEncoderConfig()
	config.SkipLineEnding, config.EncodeTime = true, zapcore.ISO8601TimeEncoder
	e.others = zapcore.NewJSONEncoder(config)
	e.stream = new(stream)
	return nil
}

// ConfigureDefaultFormat implements caddy.ConfiguresFormatterDefault: it tells where lines
// go. A load of the configuration goes on with what is open.
func (e *Encoder) ConfigureDefaultFormat(to caddy.WriterOpener) error {
	key := to.WriterKey()
	shared, _, err := streams.LoadOrNew(key, func() (caddy.Destructor, error) { return newStream(to), nil })
	if err != nil {
		return err
	}
	e.stream, e.key = shared.(*stream), key
	return nil
}

// Cleanup implements caddy.CleanerUpper.
func (e *Encoder) Cleanup() error {
	if e.key == "" {
		return nil
	}
	_, err := streams.Delete(e.key)
	return err
}

// Clone implements zapcore.Encoder.
func (e *Encoder) Clone() zapcore.Encoder {
	clone := *e
	clone.MapObjectEncoder = zapcore.NewMapObjectEncoder()
	maps.Copy(clone.MapObjectEncoder.Fields, e.MapObjectEncoder.Fields)
	return &clone
}

// AddObject implements zapcore.ObjectEncoder. What marshals the object may add to this encoder,
// and not to the one that it is given: Caddy's encoder filter does.
func (e *Encoder) AddObject(key string, object zapcore.ObjectMarshaler) error {
	outer, inner := e.MapObjectEncoder, zapcore.NewMapObjectEncoder()
	e.MapObjectEncoder = inner
	err := object.MarshalLogObject(e)
	e.MapObjectEncoder = outer
	return errors.Join(err, outer.AddReflected(key, inner.Fields))
}

var buffers = buffer.NewPool()

// EncodeEntry implements zapcore.Encoder.
func (e *Encoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	var line []byte
	if isAccess(entry.LoggerName) {
		all := e.Clone().(*Encoder)
		for _, field := range fields {
			field.AddTo(all)
		}
		line = e.format.AppendLine(nil, all.record(entry))
	} else {
		remark, err := e.remark(entry, fields)
		if err != nil {
			return nil, err
		}
		line = remark
	}
	out := buffers.Get()
	if e.stream.needsHeader(e.format.FieldsLine(), len(line), entry.Time) {
		_, _ = out.Write(e.format.AppendHeader(nil, entry.Time))
	}
	_, err := out.Write(line)
	return out, err
}

// remark is what stands for an entry that is not of an access log: its JSON, with escapes
// for what would be no text in one line.
func (e *Encoder) remark(entry zapcore.Entry, fields []zapcore.Field) ([]byte, error) {
	others := e.others.Clone()
	for _, name := range slices.Sorted(maps.Keys(e.MapObjectEncoder.Fields)) {
		zap.Any(name, e.MapObjectEncoder.Fields[name]).AddTo(others)
	}
	text, err := others.EncodeEntry(entry, fields)
	if err != nil {
		return nil, err
	}
	defer text.Free()
	line := append([]byte(nil), "#Remark: "...)
	for _, r := range text.String() {
		if unicode.IsPrint(r) {
			line = utf8.AppendRune(line, r)
			continue
		}
		// Such a rune can only stand in a text of the JSON.
		for _, unit := range utf16.AppendRune(nil, r) {
			line = fmt.Appendf(line, `\u%04x`, unit)
		}
	}
	return append(line, iislog.EndOfLine...), nil
}

// UnmarshalCaddyfile reads:
//
//	iis_w3c {
//		fields <names...>
//		field  <name> request_header|response_header <header>
//	}
func (e *Encoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch word, args := d.Val(), d.RemainingArgs(); word {
		case "fields":
			if len(args) == 0 {
				return d.ArgErr()
			}
			e.Fields = append(e.Fields, args...)
		case "field":
			custom, err := iislog.ParseCustomField(args)
			if err != nil {
				return d.WrapErr(err)
			}
			e.CustomFields = append(e.CustomFields, custom)
		default:
			return d.Errf("iis_w3c: unknown word %q: expected fields or field", word)
		}
	}
	if _, err := iislog.NewFormat(e.Fields, e.CustomFields); err != nil {
		return d.Errf("iis_w3c: %w", err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner                = (*Encoder)(nil)
	_ caddy.CleanerUpper               = (*Encoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*Encoder)(nil)
	_ zapcore.Encoder                  = (*Encoder)(nil)
	_ caddyfile.Unmarshaler            = (*Encoder)(nil)
)
