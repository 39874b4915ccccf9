package iisconfig

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// The groups whose sections protect something.
const (
	securityGroup = "system.webServer/security"
	rewriteGroup  = "system.webServer/rewrite"

	authenticationGroup = securityGroup + "/authentication"

	runtimeSection = "system.webServer/serverRuntime"
)

// groups are elements that hold sections and have no meaning of their own.
var groups = map[string]bool{
	"system.applicationHost": true,
	"system.webServer":       true,
	securityGroup:            true,
	rewriteGroup:             true,
	authenticationGroup:      true,

	"system.webServer/management": true, "system.webServer/tracing": true, "system.webServer/webdav": true,
}

// sectionReaders read the sections that the model holds. A reader reports what it
// does not understand and returns what the section does to inherited settings.
var sectionReaders = map[string]func(*context, *element) func(*Settings){
	"system.webServer/defaultDocument":            readDefaultDocument,
	"system.webServer/directoryBrowse":            readDirectoryBrowse,
	redirectSection:                               readHTTPRedirect,
	"system.webServer/httpErrors":                 readHTTPErrors,
	"system.webServer/staticContent":              readStaticContent,
	"system.webServer/httpProtocol":               readHTTPProtocol,
	"system.webServer/urlCompression":             readURLCompression,
	"system.webServer/webSocket":                  readWebSocket,
	runtimeSection:                                readServerRuntime,
	"system.webServer/proxy":                      readProxy,
	"system.webServer/handlers":                   readHandlers,
	"system.webServer/globalModules":              readGlobalModules,
	"system.webServer/modules":                    readModules,
	"system.webServer/aspNetCore":                 readAspNetCore,
	"system.webServer/httpPlatform":               readAspNetCore,
	"system.webServer/security/access":            readAccess,
	"system.webServer/security/authorization":     readAuthorization,
	"system.webServer/security/ipSecurity":        readIPSecurity,
	"system.webServer/security/requestFiltering":  readRequestFiltering,
	"system.webServer/security/dynamicIpSecurity": readDynamicIPSecurity,
	restrictionSection:                            readRestriction,

	"system.webServer/rewrite/rules":                  readRules,
	"system.webServer/rewrite/globalRules":            readGlobalRules,
	"system.webServer/rewrite/outboundRules":          readOutboundRules,
	"system.webServer/rewrite/rewriteMaps":            readRewriteMaps,
	"system.webServer/rewrite/allowedServerVariables": readAllowedVariables,
	"system.webServer/rewrite/providers":              readProviders,

	"system.webServer/security/authentication/anonymousAuthentication":                   authentication("anonymous", true),
	"system.webServer/security/authentication/basicAuthentication":                       authentication("basic", false),
	"system.webServer/security/authentication/windowsAuthentication":                     authentication("windows", false),
	"system.webServer/security/authentication/digestAuthentication":                      authentication("digest", false),
	"system.webServer/security/authentication/clientCertificateMappingAuthentication":    authentication("clientCertificateMapping", false),
	"system.webServer/security/authentication/iisClientCertificateMappingAuthentication": authentication("iisClientCertificateMapping", false),
}

// left says why a section is not in the model.
type left struct {
	warn bool // it changes what is served
	why  string
	fix  string
}

// leftOut are the sections of IIS that the model does not hold.
var leftOut = map[string]left{
	"configProtectedData":                              {why: "it names the keys of encrypted attributes"},
	"moduleProviders":                                  {why: "it is about the IIS Manager"},
	"system.ftpServer":                                 {why: "FTP is another service"},
	"system.applicationHost/configHistory":             {why: "it is about backups of the configuration"},
	"system.applicationHost/customMetadata":            {why: "it emulates the metabase of IIS 6 for scripts"},
	"system.applicationHost/listenerAdapters":          {why: "it names the protocols that the server can activate"},
	"system.applicationHost/log":                       {why: "it chooses between one log and one for each site; here each site has its own"},
	"system.applicationHost/serviceAutoStartProviders": {why: "it is about .NET applications"},
	"system.applicationHost/webLimits":                 {why: "limits of HTTP.sys have no counterpart"},

	"system.webServer/applicationInitialization": {why: "it warms up applications"},
	"system.webServer/asp":                       {why: "it is about classic ASP, which needs a worker process"},
	"system.webServer/caching":                   {why: "it is about the cache of IIS"},
	"system.webServer/cgi":                       {why: "it is about CGI programs, which need a worker process"},
	"system.webServer/diskCache":                 {why: "it is about the cache of Application Request Routing"},
	"system.webServer/fastCgi":                   {why: "it says how FastCGI programs are started"},
	"system.webServer/httpCompression":           {why: "it says how IIS compresses; urlCompression says whether"},
	"system.webServer/httpLogging":               {why: "it is about log files; where it has dontLog, write log_skip"},
	"system.webServer/httpTracing":               {why: "it is about tracing"},

	"system.webServer/management/authentication":        {why: "it is about the IIS Manager"},
	"system.webServer/management/authorization":         {why: "it is about the IIS Manager"},
	"system.webServer/management/trustedProviders":      {why: "it is about the IIS Manager"},
	"system.webServer/odbcLogging":                      {why: "it is about log files"},
	"system.webServer/serverSideInclude":                {why: "server-side includes need IIS"},
	"system.webServer/tracing/traceFailedRequests":      {why: "it is about tracing"},
	"system.webServer/tracing/traceProviderDefinitions": {why: "it is about tracing"},
	"system.webServer/validation":                       {why: "it is about the check of this file"},
	"system.webServer/webdav/authoring":                 {why: "it is about WebDAV, which authoringRules turn on"},
	"system.webServer/webdav/authoringRules":            {why: "it is about WebDAV"},
	"system.webServer/webdav/globalSettings":            {why: "it is about WebDAV"},

	"system.webServer/security/applicationDependencies": {why: "it is about the IIS Manager"},
}

// managedSections are the sections of .NET. In a web.config, every section outside
// of system.webServer counts as one.
var managedSections = map[string]bool{
	"appSettings": true, "connectionStrings": true, "runtime": true, "startup": true, "system.codedom": true,
	"system.data": true, "system.diagnostics": true, "system.identityModel": true, "system.net": true,
	"system.serviceModel": true, "system.transactions": true, "system.web": true, "system.xml.serialization": true,
}

// namesOfIIS are the names of all of these, and of what is around them, by the same in lower
// case: IIS tells them apart.
var namesOfIIS = func() map[string]string {
	names := make(map[string]string)
	for _, some := range []iter.Seq[string]{
		maps.Keys(groups), maps.Keys(sectionReaders), maps.Keys(leftOut), maps.Keys(serverOnly), maps.Keys(managedSections),
		slices.Values([]string{"location", "configSections", filtersSection, "system.applicationHost/sites", "system.applicationHost/applicationPools"}),
	} {
		for name := range some {
			names[strings.ToLower(name)] = name
		}
	}
	return names
}()
