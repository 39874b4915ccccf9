package iislog

import (
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/near"
)

// kind is what a field tells.
type kind uint8

const (
	kindDate kind = iota
	kindTime
	kindSiteName
	kindComputerName
	kindServerIP
	kindMethod
	kindStem
	kindQuery
	kindPort
	kindUser
	kindClientIP
	kindVersion
	kindHost
	kindStatus
	kindSubStatus
	kindWin32Status
	kindSent
	kindReceived
	kindTaken
	kindRequestHeader
	kindResponseHeader
)

// field is one column.
type field struct {
	name   string // as it stands behind #Fields
	kind   kind
	header int // index among the headers of its kind
}

// fieldNames are the fields of HTTP.sys in the order in which it writes them,
// that of Microsoft's page "W3C Logging". Those with brackets are headers.
var fieldNames = []string{
	"date", "time", "s-sitename", "s-computername", "s-ip", "cs-method", "cs-uri-stem", "cs-uri-query", "s-port",
	"cs-username", "c-ip", "cs-version", "cs(User-Agent)", "cs(Cookie)", "cs(Referer)", "cs-host",
	"sc-status", "sc-substatus", "sc-win32-status", "sc-bytes", "cs-bytes", "time-taken",
}

var kinds = map[string]kind{
	"date": kindDate, "time": kindTime, "s-sitename": kindSiteName, "s-computername": kindComputerName,
	"s-ip": kindServerIP, "cs-method": kindMethod, "cs-uri-stem": kindStem, "cs-uri-query": kindQuery,
	"s-port": kindPort, "cs-username": kindUser, "c-ip": kindClientIP, "cs-version": kindVersion,
	"cs-host": kindHost, "sc-status": kindStatus, "sc-substatus": kindSubStatus, "sc-win32-status": kindWin32Status,
	"sc-bytes": kindSent, "cs-bytes": kindReceived, "time-taken": kindTaken,
}

// defaultFields are those that IIS 7 to 10 write unless somebody chooses others.
var defaultFields = []string{
	"date", "time", "s-ip", "cs-method", "cs-uri-stem", "cs-uri-query", "s-port", "cs-username", "c-ip",
	"cs(User-Agent)", "cs(Referer)", "sc-status", "sc-substatus", "sc-win32-status", "time-taken",
}

// FieldNames lists the fields of IIS in the order in which it writes them.
func FieldNames() []string { return slices.Clone(fieldNames) }

// DefaultFields lists the fields of IIS 7 to 10 without further settings.
func DefaultFields() []string { return slices.Clone(defaultFields) }

// Sources of custom fields, in the words of IIS 8.5.
const (
	RequestHeader  = "request_header"
	ResponseHeader = "response_header"
)

// CustomField is a field of IIS 8.5 and later: a header under a name.
type CustomField struct {
	// The name behind #Fields (logFieldName), without blanks.
	Name string `json:"name"`

	// Where its value is from (sourceType): request_header or response_header.
	Source string `json:"source"`

	// The header's name (sourceName).
	Header string `json:"header"`
}

// ParseCustomField reads what stands behind the word field of a Caddyfile.
func ParseCustomField(args []string) (CustomField, error) {
	if len(args) != 3 || args[1] != RequestHeader && args[1] != ResponseHeader {
		return CustomField{}, fmt.Errorf("expected: field <name> %s|%s <header>, such as field X-Forwarded-For request_header X-Forwarded-For", RequestHeader, ResponseHeader)
	}
	return CustomField{Name: args[0], Source: args[1], Header: args[2]}, nil
}

// Words are what stands behind the word field of a Caddyfile.
func (c CustomField) Words() []string { return []string{c.Name, c.Source, c.Header} }

// Format is a list of fields that has been understood. It never changes.
type Format struct {
	fields            []field
	request, response []string // headers that fields tell, in canonical form
	header            string   // the line #Fields
	custom            bool
	sent, received    bool
}

// Errors of a list of fields say which fields there are; see NewFormat.
var (
	errNoFields = errors.New("there are no fields: name some, or leave the list out for those of IIS")
	errName     = errors.New("a field's name consists of printable ASCII without blanks")
)

// NewFormat reads a list of fields; an empty list is that of IIS. Besides the
// fields of IIS there is cs(<header>) for any header of requests and
// sc(<header>) for any of responses. Custom fields come last, as in IIS.
// Fields are written in the order of the list; none may be there twice.
func NewFormat(fields []string, custom []CustomField) (*Format, error) {
	if fields == nil {
		fields = defaultFields
	}
	f := new(Format)
	for _, name := range fields {
		if err := f.add(name); err != nil {
			return nil, err
		}
	}
	for _, c := range custom {
		if err := f.addCustom(c); err != nil {
			return nil, err
		}
	}
	if len(f.fields) == 0 {
		return nil, errNoFields
	}
	names := make([]string, len(f.fields))
	for i := range f.fields {
		names[i] = f.fields[i].name
	}
	f.header = "#Fields: " + strings.Join(names, " ")
	return f, nil
}

// add adds a field by its name.
func (f *Format) add(name string) error {
	if k, ok := kinds[name]; ok {
		f.sent = f.sent || k == kindSent
		f.received = f.received || k == kindReceived
		return f.append(field{name: name, kind: k})
	}
	source, header, ok := strings.Cut(name, "(")
	header, closed := strings.CutSuffix(header, ")")
	if !ok || !closed || source != "cs" && source != "sc" {
		return fmt.Errorf("unknown field %q: expected one of %s, cs(<header>) or sc(<header>)%s", name, strings.Join(fieldNames, ", "), near.Hint(name, fieldNames))
	}
	f.custom = f.custom || !slices.Contains(fieldNames, name)
	if source == "cs" {
		return f.addHeader(name, kindRequestHeader, header)
	}
	return f.addHeader(name, kindResponseHeader, header)
}

func (f *Format) addCustom(c CustomField) error {
	f.custom = true
	switch c.Source {
	case RequestHeader:
		return f.addHeader(c.Name, kindRequestHeader, c.Header)
	case ResponseHeader:
		return f.addHeader(c.Name, kindResponseHeader, c.Header)
	}
	return fmt.Errorf("custom field %q: unknown source %q: expected %s or %s", c.Name, c.Source, RequestHeader, ResponseHeader)
}

func (f *Format) addHeader(name string, k kind, header string) error {
	if !isToken(header) {
		return fmt.Errorf("field %q: %q is no name of a header", name, header)
	}
	headers := &f.request
	if k == kindResponseHeader {
		headers = &f.response
	}
	*headers = append(*headers, textproto.CanonicalMIMEHeaderKey(header))
	return f.append(field{name: name, kind: k, header: len(*headers) - 1})
}

func (f *Format) append(added field) error {
	if added.name == "" || strings.ContainsFunc(added.name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("field %q: %w", added.name, errName)
	}
	if slices.ContainsFunc(f.fields, func(have field) bool { return have.name == added.name }) {
		return fmt.Errorf("field %q is there twice: remove one of them", added.name)
	}
	f.fields = append(f.fields, added)
	return nil
}

// isToken reports whether a text can be the name of a header (RFC 9110, section 5.1).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

// RequestHeaders lists the headers of requests that the fields tell, in the
// canonical form of Go, in the order in which a Record has their values.
func (f *Format) RequestHeaders() []string { return f.request }

// ResponseHeaders lists the headers of responses that the fields tell.
func (f *Format) ResponseHeaders() []string { return f.response }

// CountsSent reports whether a field tells the bytes that were sent.
func (f *Format) CountsSent() bool { return f.sent }

// CountsReceived reports whether a field tells the bytes that were received.
func (f *Format) CountsReceived() bool { return f.received }

// Custom reports whether there are fields that are not among those of IIS. The
// names of its files then end with _x.
func (f *Format) Custom() bool { return f.custom }

// FieldsLine returns the line #Fields, without its end.
func (f *Format) FieldsLine() string { return f.header }
