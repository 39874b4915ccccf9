// Package adminapi holds what the admin API of the iis app says, the types of
// its answers, and a client for it and for the part of Caddy's configuration
// that the app owns.
package adminapi

import (
	"encoding/json"
	"time"
)

// Page is a part of a list.
type Page[T any] struct {
	// Items are those of this page, in the order of the list.
	Items []T `json:"items"`

	// Total counts the items of all pages.
	Total int `json:"total"`

	// Next is what the parameter after must be in order to get the next page.
	// It is empty on the last page.
	Next string `json:"next,omitempty"`

	// Revision and Mark are those of the source that has the sites of a list, which are at
	// least as new. They are missing where it is not one source that is asked for.
	Revision string `json:"revision,omitempty"` // as <source id>:<number>
	Mark     string `json:"mark,omitempty"`
}

// The states of a site.
const (
	StateStarted = "started"
	StateStopped = "stopped"

	// StateHeldBack is that of a site that its source has, and that is not served.
	StateHeldBack = "held_back"

	// StateOpen and StateRefused are those of a site that others have written to a
	// source, of which nothing is accepted yet, or since it cannot be.
	StateOpen    = "open"
	StateRefused = "refused"
)

// SourceSitesFile is the source of sites that are not in the configuration.
const SourceSitesFile = "sites_file"

// Site is a site as it is served, or a row of a source that is not.
type Site struct {
	ID   uint32 `json:"id"`
	Name string `json:"name,omitempty"`

	// State is "started" or "stopped", and of a row of which nothing is served "held_back",
	// "open" or "refused".
	State string `json:"state"`

	// Code is the error code with which IIS leaves such a site stopped, such
	// as 0x800700B7. It is empty for a site that was told not to start.
	Code string `json:"code,omitempty"`

	// Reason says why the site is stopped, or not served.
	Reason string `json:"reason,omitempty"`

	// Offline tells that the site answers every request with 503.
	Offline bool `json:"offline,omitempty"`

	// Certificate is the name of the certificate of all https bindings that
	// name none themselves.
	Certificate string `json:"certificate,omitempty"`

	// Source is "sites_file" for a site of that file, the name of the source for
	// one of sites_from, and empty for one of the configuration.
	Source string `json:"source,omitempty"`

	// Document is what a source keeps of the site, Revision the one that wrote it
	// and ETag what a change can depend on. They are missing in lists.
	Document json.RawMessage `json:"document,omitempty"`
	Revision uint64          `json:"revision,omitempty"`
	ETag     string          `json:"etag,omitempty"`

	// HeldBack says that the site is served, and not with all that its source has of it: a
	// binding is left out or waits, or it is served as it was before.
	HeldBack bool `json:"held_back,omitempty"`

	// Open says that the document is not accepted, and Refusal why. What is served is
	// what was accepted before.
	Open    bool     `json:"open,omitempty"`
	Refusal *Refusal `json:"refusal,omitempty"`

	// Wanted is the document that is refused, and Accepted the one that is accepted in its
	// place, if there is any. They are in the list of refused sites only.
	Wanted   json.RawMessage `json:"wanted,omitempty"`
	Accepted json.RawMessage `json:"site,omitempty"`

	// Serves is what serves the site and what it demands; missing in lists.
	Serves *Serves `json:"serves,omitempty"`

	Bindings []Binding `json:"bindings,omitempty"`

	// Waiting are the bindings that its source has of a site that is served without them.
	Waiting []Binding `json:"waiting,omitempty"`

	Findings []Finding `json:"findings,omitempty"`
}

// IsServed reports whether the site is one of those that this server serves, started or
// stopped.
func (s Site) IsServed() bool { return s.State == StateStarted || s.State == StateStopped }

// Serves is what serves a site's requests, and what the site demands of them.
type Serves struct {
	// Template is the name of the template, Defaults says that the defaults serve it, and
	// OwnRoutes that its row in a source has brought routes. Without any of them, it has
	// those that the configuration has for it, or nothing serves it.
	Template  string `json:"template,omitempty"`
	Defaults  bool   `json:"defaults,omitempty"`
	OwnRoutes bool   `json:"own_routes,omitempty"`

	// Vars are the values of its variables.
	Vars map[string]string `json:"vars,omitempty"`

	// RequireSSL is what a request over http gets: "on" is 403.4, "redirect" a
	// redirect; missing: it is served.
	RequireSSL string `json:"require_ssl,omitempty"`

	// RequireClientCertificate says that requests without one get 403.7.
	RequireClientCertificate bool `json:"require_client_certificate,omitempty"`

	// HSTS is the header Strict-Transport-Security, and HSTSRedirects says that
	// requests over http are redirected to https.
	HSTS          string `json:"hsts,omitempty"`
	HSTSRedirects bool   `json:"hsts_redirects,omitempty"`

	// AccessLog says that the logger iis.log.access.<id> logs requests, and W3CLog is the
	// folder of its log in the format of IIS.
	AccessLog bool   `json:"access_log,omitempty"`
	W3CLog    string `json:"w3c_log,omitempty"`
}

// The values of Serves.RequireSSL.
const (
	RequireSSLOn       = "on"
	RequireSSLRedirect = "redirect"
)

// Refusal is why a document is not accepted.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Other   uint32 `json:"other,omitempty"` // the site that it contradicts
	Node    string `json:"node,omitempty"`  // who has judged
}

// Binding is a binding of a site.
type Binding struct {
	// Protocol is "http" or "https".
	Protocol string `json:"protocol"`

	// Binding is IP:port:host, where the IP is * for all addresses.
	Binding string `json:"binding"`

	// Flags are the sslFlags.
	Flags uint16 `json:"flags,omitempty"`

	// Reject says that the handshakes of the binding's clients are refused.
	Reject bool `json:"reject,omitempty"`

	// Certificate is the name of the certificate that a client gets who
	// connects to the binding's address and sends its host as server name.
	// It need not be the one that the binding names.
	Certificate string `json:"certificate,omitempty"`

	// ClientCertificate is "required" or "requested" where the handshake asks clients
	// for a certificate.
	ClientCertificate string `json:"client_certificate,omitempty"`

	// Record is the key of the TLS record that holds the certificate, as
	// netsh http show sslcert has it: 0.0.0.0:443, www.example.com:443 or
	// ccs:443.
	Record string `json:"record,omitempty"`

	// NotAfter is when the certificate ends that such a client gets. It is missing while
	// there is none, and where it is not known: below a wildcard host, for example.
	NotAfter *time.Time `json:"not_after,omitempty"`

	// Covers says whether it is for the host; missing while there is none, and for
	// bindings without host.
	Covers *bool `json:"covers,omitempty"`

	// RenewedBy is who renews it: "caddy", or those who write its "file" or into its
	// "store", or who give it to the "api".
	RenewedBy string `json:"renewed_by,omitempty"`

	// Renews is when Caddy does.
	Renews *time.Time `json:"renews,omitempty"`

	// Error is why it could not be obtained, renewed or read the last time.
	Error string `json:"error,omitempty"`
}

// The values of Binding.RenewedBy.
const (
	RenewedByCaddy = "caddy"
	RenewedByFile  = "file"
	RenewedByStore = "store"
	RenewedByAPI   = "api"
)

// Endpoint is an address and port at which there are bindings or certificates.
type Endpoint struct {
	// Address is IP:port, where the IP is * for all addresses.
	Address string `json:"address"`

	// Protocol is "http" or "https".
	Protocol string `json:"protocol"`

	// Absent tells that this machine does not have the address, so that nobody can
	// connect to it. When the machine gets the address, it is served.
	Absent bool `json:"absent,omitempty"`

	// Listening tells whether connections to the address are accepted.
	Listening bool `json:"listening"`

	// Reason says why not.
	Reason string `json:"reason,omitempty"`

	// Local is the local address of a connection to it; for all addresses it is missing
	// unless listen leaves some only.
	Local string `json:"local,omitempty"`

	// Sockets are those that accept the connections.
	Sockets []Socket `json:"sockets,omitempty"`

	// Bindings counts the bindings to exactly this address and port, and Waiting those of
	// sites of sources that are not served, or not with them.
	Bindings int `json:"bindings"`
	Waiting  int `json:"waiting,omitempty"`

	// ServerNames counts the names for which a client who sends them gets
	// another certificate than the default one.
	ServerNames int `json:"server_names,omitempty"`

	// CentralStore tells that names are looked up in the central store.
	CentralStore bool `json:"central_store,omitempty"`

	// WithoutSNI is what a client gets who sends no server name. It is
	// missing on http.
	WithoutSNI *Default `json:"without_sni,omitempty"`

	// SharedWith names the ordinary HTTP servers that listen here too.
	SharedWith []string `json:"shared_with,omitempty"`
}

// Default is what clients get who send no server name.
type Default struct {
	// Certificate is the name of the certificate, empty if there is none.
	Certificate string `json:"certificate,omitempty"`

	// Rule is the row of table D1 that decided.
	Rule string `json:"rule"`

	// Reason says why there is no certificate.
	Reason string `json:"reason,omitempty"`
}

// Socket is an open socket.
type Socket struct {
	Network string `json:"network"` // tcp or udp
	Address string `json:"address"` // without IP, :443, for all addresses
	Status  string `json:"status"`  // serving, prepared or closing
}

// Certificate is what stands behind the name of a certificate.
type Certificate struct {
	Name string `json:"name"`

	// Source is the module it comes from, such as pem or managed, or the name of the
	// source of sites that keeps it.
	Source string `json:"source"`

	// KeptIn is the name of the source of sites that keeps it; empty for others. PEM is
	// the certificate with its chain, Revision the one that wrote it and ETag what a
	// change can depend on; they are missing in lists. Its private key is never shown.
	KeptIn   string `json:"kept_in,omitempty"`
	PEM      string `json:"pem,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	ETag     string `json:"etag,omitempty"`

	// Current are the certificates that clients can get at this moment.
	Current []Leaf `json:"current"`

	UsedBy UsedBy `json:"used_by"`

	// LastReload is when the certificate was last read or obtained.
	LastReload *time.Time `json:"last_reload,omitempty"`

	// Error is why the last attempt to do so failed. The certificates from
	// before still serve.
	Error string `json:"error,omitempty"`

	// Store is what the central store did and holds; nil for other sources.
	Store *Store `json:"store,omitempty"`

	// Failures are names for which Caddy could not obtain or renew it, up to a bound.
	Failures []CertificateFailure `json:"failures,omitempty"`

	// ForBindings is what was done for the hosts of bindings; nil for other sources.
	ForBindings *ForBindings `json:"for_bindings,omitempty"`
}

// CertificateFailure is why there is no certificate, or no newer one.
type CertificateFailure struct {
	Host  string    `json:"host"`
	Error string    `json:"error"` // in the words of the issuer
	At    time.Time `json:"at"`

	// Again is before when it is not tried again.
	Again *time.Time `json:"again,omitempty"`
}

// ForBindings is what a certificate for the hosts of bindings did since there is one of
// its name, and what it holds.
type ForBindings struct {
	Certificates int `json:"certificates"` // in memory

	Hits     uint64            `json:"hits"`               // look-ups with a certificate in memory
	Reads    uint64            `json:"reads"`              // of storage
	Orders   uint64            `json:"orders"`             // renewals included
	Failures map[string]uint64 `json:"failures,omitempty"` // by reason
}

// Store is what the central certificate store did since its settings have been as
// they are, and what it holds.
type Store struct {
	Certificates int `json:"certificates"` // in memory
	Absent       int `json:"absent"`       // names known to have none

	Hits     uint64 `json:"hits"`     // look-ups with a certificate
	Misses   uint64 `json:"misses"`   // look-ups without
	Refused  uint64 `json:"refused"`  // look-ups of what is no host name
	Limited  uint64 `json:"limited"`  // look-ups of new names above the rate
	Timeouts uint64 `json:"timeouts"` // look-ups that did not wait any longer
	Accesses uint64 `json:"accesses"` // to the folder or storage
	Reloads  uint64 `json:"reloads"`  // of files that changed
	Evicted  uint64 `json:"evicted"`  // certificates that made room for others

	// Unreachable is since when the store does not answer; nil if it does.
	Unreachable *time.Time `json:"unreachable,omitempty"`
}

// Leaf is a certificate with its chain.
type Leaf struct {
	// File is the file of the central store that it is from, and SiteCount how many
	// sites have a binding whose clients get it; for the central store only.
	File      string `json:"file,omitempty"`
	SiteCount int    `json:"site_count,omitempty"`

	// Subjects are the names and addresses the certificate is valid for.
	Subjects []string `json:"subjects"`

	Issuer string `json:"issuer,omitempty"`

	// SHA1 is the thumbprint as Windows shows it, in upper case.
	SHA1 string `json:"sha1"`

	// SHA256 is the thumbprint in lower case.
	SHA256 string `json:"sha256"`

	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`

	// Renews is when Caddy renews it; missing if it does not.
	Renews *time.Time `json:"renews,omitempty"`

	// Chain counts the certificates that are sent, the leaf included.
	Chain int `json:"chain"`
}

// UsedBy tells where a certificate serves. The lists are cut when they are
// long; the counts are whole.
type UsedBy struct {
	Sites       []uint32 `json:"sites,omitempty"`
	SiteCount   int      `json:"site_count"`
	Records     []string `json:"records,omitempty"` // as Binding.Record
	RecordCount int      `json:"record_count"`
}

// Finding is a remark about the configuration.
type Finding struct {
	// Severity is "error", "warning" or "info".
	Severity string `json:"severity"`

	// Code names the kind of finding.
	Code string `json:"code"`

	// Site is the id of the site, if it is about a single one.
	Site    uint32 `json:"site,omitempty"`
	Binding string `json:"binding,omitempty"`
	Message string `json:"message"`

	// Fix is the way out.
	Fix string `json:"fix,omitempty"`
}

// The severities of findings.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
	SeverityInfo    = "info"
)

// Explanation tells what a client would get, and why.
type Explanation struct {
	Local  string `json:"local"`
	Scheme string `json:"scheme"`
	SNI    string `json:"sni,omitempty"`
	Host   string `json:"host,omitempty"`

	// Listening tells whether anything accepts such a connection.
	Listening bool `json:"listening"`

	// Reason says why not.
	Reason string `json:"reason,omitempty"`

	// Handshake is missing on http, and if nothing listens.
	Handshake *Handshake `json:"handshake,omitempty"`

	// Request is missing if the handshake is refused, or nothing listens.
	Request *Request `json:"request,omitempty"`

	// Problems are what a browser or another careful client would find.
	Problems []Problem `json:"problems,omitempty"`
}

// The outcomes of a handshake and of a request.
const (
	OutcomeCertificate = "certificate"  // of a binding or an endpoint
	OutcomeRefused     = "refused"      // no certificate, the connection is reset
	OutcomeSite        = "site"         // a site answers
	OutcomeOffline     = "offline"      // a site was found that is offline: 503
	OutcomeHeldBack    = "held_back"    // a site of a source was found that is held back: 503
	OutcomeServer      = "server"       // an ordinary HTTP server on the same port
	OutcomeInvalidHost = "invalid_host" // the host is no host name: 400
	OutcomeUnknownHost = "unknown_host" // no binding has the host
)

// ServerECH stands where an ordinary server is named: the server name is a
// public name of Encrypted Client Hello.
const ServerECH = "encrypted_client_hello"

// Handshake is how a TLS handshake ends.
type Handshake struct {
	// Outcome is "certificate", "server" or "refused".
	Outcome string `json:"outcome"`

	// Rule is the row of table D1 that decided, Steps are all rows up to it.
	Rule  string `json:"rule"`
	Steps []Step `json:"steps"`

	// Record and Certificate are the key of the TLS record and the name of
	// the certificate.
	Record      string `json:"record,omitempty"`
	Certificate string `json:"certificate,omitempty"`

	// Instead is the certificate that the rule chose, if it is not available
	// and another one takes its place.
	Instead string `json:"instead_of,omitempty"`

	// Leaf is the certificate that would be sent. It is unknown for an
	// ordinary server.
	Leaf *Leaf `json:"leaf,omitempty"`

	// ClientCertificate is "requested" or "required" if the server asks for
	// one.
	ClientCertificate string `json:"client_certificate,omitempty"`

	// Server is the name of the ordinary HTTP server.
	Server string `json:"server,omitempty"`

	// Protocols are those of HTTP that the client can speak here: h1, h2 and h3. For
	// an ordinary server, or if the handshake is refused, they are unknown.
	Protocols []string `json:"protocols,omitempty"`

	// Reason says why the handshake is refused.
	Reason string `json:"reason,omitempty"`

	// Deliberate tells that it is refused since the configuration says so, by
	// sni_missing, sni_unmatched or reject, and not for want of a certificate.
	Deliberate bool `json:"deliberate,omitempty"`
}

// Request is who answers a request.
type Request struct {
	// Outcome is "site", "offline", "server", "invalid_host" or
	// "unknown_host".
	Outcome string `json:"outcome"`

	// Rule is the row of table D2 that decided, Steps are all rows up to it.
	Rule  string `json:"rule"`
	Steps []Step `json:"steps"`

	Site    uint32 `json:"site,omitempty"`
	Name    string `json:"name,omitempty"`
	Binding string `json:"binding,omitempty"`
	Server  string `json:"server,omitempty"`

	// Status is that of an answer in the place of a site or before its routes
	// see the request. It is 0 if the routes answer, or if the connection is
	// closed without an answer.
	Status int `json:"status,omitempty"`

	// Reason says why there is such an answer although a site was found.
	Reason string `json:"reason,omitempty"`
}

// The values of Handshake.ClientCertificate.
const (
	CertificateRequested = "requested"
	CertificateRequired  = "required"
)

// Step is one row of a table that was tried.
type Step struct {
	Rule   string `json:"rule"`
	Key    string `json:"key,omitempty"`
	Hit    bool   `json:"hit"`
	Reason string `json:"reason"`
}

// Problem is something that a client would complain of.
type Problem struct {
	// Code names the kind of problem.
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of problems.
const (
	ProblemNotListening  = "not-listening"
	ProblemWrongProtocol = "wrong-protocol"
	ProblemRefused       = "handshake-refused"
	ProblemWrongName     = "wrong-name"
	ProblemExpired       = "expired"
	ProblemNotYetValid   = "not-yet-valid"
	ProblemUntrusted     = "untrusted"
	ProblemNoSite        = "no-site"
	ProblemHeldBack      = "held-back"
	ProblemNotServed     = "site-not-served"
	ProblemOffline       = "offline"
	ProblemDemand        = "demand"
)
