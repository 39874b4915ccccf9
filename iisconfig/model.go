package iisconfig

import (
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// Server is everything that was read.
type Server struct {
	Inputs           []Input              `json:"inputs,omitempty"`
	Sites            []*Site              `json:"sites,omitempty"`
	ApplicationPools []*ApplicationPool   `json:"application_pools,omitempty"`
	Certificates     []*CertificateRecord `json:"certificates,omitempty"`
	CertificateFiles []CertificateFile    `json:"certificate_files,omitempty"`
	CentralStore     *CentralStore        `json:"central_store,omitempty"`
	WebFarms         []*WebFarm           `json:"web_farms,omitempty"`
	FastCGI          []FastCGI            `json:"fast_cgi,omitempty"`
	// Listen are the addresses that HTTP.sys listens on for all ports; none means all.
	// ListenRead says whether any input told.
	Listen     []ListenAddress `json:"listen,omitempty"`
	ListenRead bool            `json:"listen_read,omitempty"`
	// Settings are those of the whole server, which every site inherits.
	Settings *Settings `json:"settings,omitempty"`
	// Configured are the sections that made Settings.
	Configured []Section `json:"configured,omitempty"`
	Findings   []Finding `json:"findings,omitempty"`
}

// Input is one file that was read.
type Input struct {
	Name     string `json:"name"`
	Kind     Kind   `json:"kind"`
	Encoding string `json:"encoding,omitempty"`
}

// Site is one web site.
type Site struct {
	// ID is 0 if the source tells none.
	ID        uint32 `json:"id"`
	Name      string `json:"name"`
	AutoStart bool   `json:"auto_start"`
	// State is "started", "stopped" or another state of IIS. It is empty if no input
	// tells it, which is so for applicationHost.config.
	State        string         `json:"state,omitempty"`
	Bindings     []*Binding     `json:"bindings,omitempty"`
	Applications []*Application `json:"applications,omitempty"`
	HSTS         *HSTS          `json:"hsts,omitempty"`
	LogFile      *LogFile       `json:"log_file,omitempty"`
	// Configured are the paths that have settings of their own, and the sections that
	// make them, sorted by path. At returns the settings.
	Configured []ConfiguredPath `json:"configured,omitempty"`
	Source     Source           `json:"source"`

	kind Kind
	// same is the site that has taken over what this one has, if another input had it
	// before.
	same     *Site
	settings *scope
	base     *Settings
}

// Binding is one binding of a site.
type Binding struct {
	// Protocol and Information are as typed.
	Protocol    string `json:"protocol"`
	Information string `json:"information"`
	// HTTP tells whether the web server serves it: protocol http or https in any
	// case. Others, such as net.tcp and ftp, go to other services.
	HTTP bool `json:"http"`
	// Parsed is nil if the binding is not HTTP or is wrong.
	Parsed *binding.Binding `json:"parsed,omitempty"`
	// Problem says why an HTTP binding cannot be used.
	Problem  string        `json:"problem,omitempty"`
	SSLFlags binding.Flags `json:"ssl_flags,omitempty"`
	// CertificateHash is the SHA-1 of the certificate in lower-case hexadecimal. It
	// comes from the binding itself, from the site (IIS 6) or from Record.
	CertificateHash string `json:"certificate_hash,omitempty"`
	StoreName       string `json:"store_name,omitempty"`
	// Record is the record of HTTP.sys that this https binding uses, if the inputs
	// have it: netsh's IP:port for sslFlags without the bits 1 and 2, its host:port
	// for bit 1, the central store for bit 2.
	Record *CertificateRecord `json:"-"`
	Source Source             `json:"source"`
}

// IsHTTPS reports whether the binding is one of the web server with TLS.
func (b *Binding) IsHTTPS() bool { return strings.EqualFold(b.Protocol, "https") }

// Application is an application of a site. Every site has "/".
type Application struct {
	Path string `json:"path"`
	Pool string `json:"pool,omitempty"`
	// EnabledProtocols are those of the application; empty if nobody says it, which is http.
	EnabledProtocols string `json:"enabled_protocols,omitempty"`
	// NoHTTP says that http is not among them: IIS does not serve the application here.
	NoHTTP             bool                `json:"no_http,omitempty"`
	VirtualDirectories []*VirtualDirectory `json:"virtual_directories,omitempty"`
	Source             Source              `json:"source"`
}

// VirtualDirectory maps a path below that of its application to a folder.
type VirtualDirectory struct {
	// Path is relative to the application; "/" is the application's own folder.
	Path         string `json:"path"`
	PhysicalPath string `json:"physical_path"`
	// UserName is the account with which IIS reads the folder, if it has one.
	UserName string `json:"user_name,omitempty"`
	// NoSubConfig says that IIS does not read web.config files of folders below that one
	// (allowSubDirConfig="false"). What .NET reads of them by itself counts.
	NoSubConfig bool   `json:"no_sub_config,omitempty"`
	Source      Source `json:"source"`
}

// ApplicationPool is a pool of worker processes.
type ApplicationPool struct {
	Name           string `json:"name"`
	RuntimeVersion string `json:"runtime_version,omitempty"` // of .NET; empty if none is set
	// Unmanaged is the runtime version "No Managed Code".
	Unmanaged    bool   `json:"unmanaged,omitempty"`
	PipelineMode string `json:"pipeline_mode,omitempty"`
	Identity     string `json:"identity,omitempty"`
	Enable32Bit  bool   `json:"enable_32_bit,omitempty"`
	AutoStart    bool   `json:"auto_start"`
	State        string `json:"state,omitempty"`
	Source       Source `json:"source"`
}

// HSTS is the element hsts of a site (IIS 10 1709 and later). The header is sent
// with https responses only.
type HSTS struct {
	Enabled             bool   `json:"enabled"`
	MaxAge              uint32 `json:"max_age"` // seconds
	IncludeSubDomains   bool   `json:"include_sub_domains,omitempty"`
	Preload             bool   `json:"preload,omitempty"`
	RedirectHTTPToHTTPS bool   `json:"redirect_http_to_https,omitempty"`
	Source              Source `json:"source"`
}

// RecordKind is the kind of a certificate record, by netsh's word for its key.
type RecordKind string

// The kinds of records that HTTP.sys keeps.
const (
	RecordIPPort             RecordKind = "ipport"
	RecordHostnamePort       RecordKind = "hostnameport"
	RecordCentralStore       RecordKind = "ccs"
	RecordScopedCentralStore RecordKind = "scopedccs"
)

// CertificateRecord is one record of "netsh http show sslcert". Settings that the
// output does not have, or has as "Not Set", are nil.
type CertificateRecord struct {
	Kind RecordKind `json:"kind"`
	// Key is in netsh's form: "0.0.0.0:443", "[::1]:443", "www.example.com:443", or
	// the port for the central store.
	Key  string `json:"key"`
	Hash string `json:"hash,omitempty"` // lower-case hexadecimal; empty for "(null)"
	// ApplicationID is {4dc3e181-e14b-4a21-b022-59fc669b0914} for records made by IIS.
	ApplicationID string `json:"application_id,omitempty"`
	StoreName     string `json:"store_name,omitempty"` // empty for "(null)", which is "MY"

	VerifyRevocation       *bool  `json:"verify_revocation,omitempty"`
	VerifyCachedOnly       *bool  `json:"verify_cached_only,omitempty"`
	UsageCheck             *bool  `json:"usage_check,omitempty"`
	CTLIdentifier          string `json:"ctl_identifier,omitempty"`
	CTLStoreName           string `json:"ctl_store_name,omitempty"`
	DSMapper               *bool  `json:"ds_mapper,omitempty"`
	NegotiateClientCert    *bool  `json:"negotiate_client_cert,omitempty"`
	RejectConnections      *bool  `json:"reject_connections,omitempty"`
	DisableHTTP2           *bool  `json:"disable_http2,omitempty"`
	DisableQUIC            *bool  `json:"disable_quic,omitempty"`
	DisableTLS12           *bool  `json:"disable_tls12,omitempty"`
	DisableTLS13           *bool  `json:"disable_tls13,omitempty"`
	DisableOCSPStapling    *bool  `json:"disable_ocsp_stapling,omitempty"`
	EnableTokenBinding     *bool  `json:"enable_token_binding,omitempty"`
	LogExtendedEvents      *bool  `json:"log_extended_events,omitempty"`
	DisableLegacyTLS       *bool  `json:"disable_legacy_tls,omitempty"`
	EnableSessionTicket    *bool  `json:"enable_session_ticket,omitempty"`
	RevocationFreshness    string `json:"revocation_freshness,omitempty"`
	URLRetrievalTimeout    string `json:"url_retrieval_timeout,omitempty"`
	ExtendedPropertyValues []Pair `json:"extended_properties,omitempty"`
	// Bindings counts the https bindings that use the record.
	Bindings int    `json:"bindings"`
	Source   Source `json:"source"`
}

// Pair is a name and a value that are kept as they were read.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CertificateFile is a file with certificates or keys. It was not opened.
type CertificateFile struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	Size int64  `json:"size"`
}

// CentralStore is the central certificate store. IIS keeps its settings in the
// registry; without an export of it, only the ports are known.
type CentralStore struct {
	Enabled  bool   `json:"enabled"`
	Location string `json:"location,omitempty"`
	UserName string `json:"user_name,omitempty"`
	// HasKeyPassword says that one password opens all files of the store.
	HasKeyPassword  bool     `json:"has_key_password,omitempty"`
	PollingInterval uint32   `json:"polling_interval,omitempty"` // seconds
	Ports           []uint16 `json:"ports,omitempty"`
	Source          Source   `json:"source"`
}

// WebFarm is a group of servers of Application Request Routing. Rewrite rules
// name it as the host of their action.
type WebFarm struct {
	Name    string          `json:"name"`
	Enabled bool            `json:"enabled"`
	Servers []WebFarmServer `json:"servers,omitempty"`

	// How servers are chosen, such as WeightedRoundRobin. Empty: as LeastRequests, which the
	// IIS Manager begins with.
	Algorithm string `json:"algorithm,omitempty"`
	// The cookie by which clients stay at one server; empty if they do not.
	Cookie string `json:"cookie,omitempty"`

	Health *HealthCheck `json:"health,omitempty"`
	Source Source       `json:"source"`
}

// HealthCheck says how the servers of a WebFarm are asked whether they are well.
type HealthCheck struct {
	URL      string `json:"url"`
	Interval string `json:"interval,omitempty"` // d.hh:mm:ss
	Timeout  string `json:"timeout,omitempty"`
	Status   string `json:"status,omitempty"` // such as 200-399
	Text     string `json:"text,omitempty"`   // that the answer has
	Source   Source `json:"source"`
}

// WebFarmServer is one server of a WebFarm.
type WebFarmServer struct {
	Address   string `json:"address"`
	Enabled   bool   `json:"enabled"`
	HTTPPort  int    `json:"http_port"`
	HTTPSPort int    `json:"https_port"`
	Weight    int    `json:"weight"`
	Source    Source `json:"source"`
}

// FastCGI says how a program that handlers name as their script processor is run.
type FastCGI struct {
	FullPath            string `json:"full_path"`
	Arguments           string `json:"arguments,omitempty"`
	MaxInstances        int    `json:"max_instances"` // 0: as many as the server sees fit
	InstanceMaxRequests int    `json:"instance_max_requests"`
	ActivityTimeout     int    `json:"activity_timeout"` // seconds without a byte
	RequestTimeout      int    `json:"request_timeout"`  // seconds
	Environment         []Pair `json:"environment,omitempty"`
	Source              Source `json:"source"`
}
