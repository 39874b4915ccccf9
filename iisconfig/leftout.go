package iisconfig

import (
	"math"
	"strings"
)

// schema is what IIS knows in a section that is left out, or in an element of it: for what it
// answers 500.19 (IIS_schema.xml and WebDAV_schema.xml of its folder config/schema). What newer
// versions of IIS may know besides is not held against a file.
type schema struct {
	// attributes are names, alone for texts and times, or with a colon and what their values
	// are: bool, uint, or words with | between them.
	attributes string
	elements   map[string]*schema
}

// collected is a collection of entries named add, with a remove and a clear.
func collected(attributes string) map[string]*schema {
	return map[string]*schema{"add": {attributes: attributes}, "remove": {attributes: attributes}, "clear": {}}
}

const cachePolicies = ":DontCache|CacheUntilChange|CacheForTimePeriod|DisableCache"

// leftSchemas are those of the sections of leftOut that a web.config can have.
var leftSchemas = map[string]*schema{
	"system.webServer/applicationInitialization": {
		attributes: "remapManagedRequestsTo skipManagedModules:bool doAppInitAfterRestart:bool",
		elements:   collected("initializationPage hostName"),
	},
	"system.webServer/asp": {
		attributes: `appAllowClientDebug:bool appAllowDebugging:bool errorsToNTLog:bool logErrorRequests:bool calcLineNumber:bool codePage:uint
			enableApplicationRestart:bool enableAspHtmlFallback:bool enableChunkedEncoding:bool enableParentPaths:bool exceptionCatchEnable:bool
			lcid:uint runOnEndAnonymously:bool scriptErrorMessage scriptErrorSentToBrowser:bool scriptLanguage bufferingOn:bool`,
		elements: map[string]*schema{
			"session": {attributes: "allowSessionState:bool keepSessionIdSecure:bool max:uint timeout"},
			"comPlus": {attributes: "appServiceFlags sxsName partitionId trackThreadingModel:bool executeInMta:bool"},
			"cache":   {attributes: "diskTemplateCacheDirectory maxDiskTemplateCacheFiles:uint scriptFileCacheSize:uint scriptEngineCacheMax:uint enableTypelibCache:bool"},
			"limits": {attributes: "scriptTimeout bufferingLimit:uint maxRequestEntityAllowed:uint processorThreadMax:uint queueConnectionTestTime " +
				"queueTimeout requestQueueMax:uint"},
		},
	},
	"system.webServer/caching": {
		attributes: "enabled:bool enableKernelCache:bool maxCacheSize:uint maxResponseSize:uint",
		elements: map[string]*schema{"profiles": {elements: collected("extension policy" + cachePolicies + " kernelCachePolicy" + cachePolicies +
			" duration location:Any|Client|Downstream|Server|None|ServerAndClient varyByHeaders varyByQueryString")}},
	},
	"system.webServer/cgi": {attributes: "createCGIWithNewConsole:bool createProcessAsUser:bool timeout"},
	"system.webServer/fastCgi": {elements: map[string]*schema{"application": {
		attributes: "fullPath arguments monitorChangesTo stderrMode:ReturnStdErrIn500|ReturnGeneric500|IgnoreAndReturn200|TerminateProcess maxInstances:uint " +
			"idleTimeout:uint activityTimeout:uint requestTimeout:uint instanceMaxRequests:uint signalBeforeTerminateSeconds:uint protocol:NamedPipe|Tcp " +
			"queueLength:uint flushNamedPipe:bool rapidFailsPerMinute:uint",
		elements: map[string]*schema{"environmentVariables": {elements: map[string]*schema{"environmentVariable": {attributes: "name value"}}}},
	}}},
	"system.webServer/httpCompression": {
		attributes: `sendCacheHeaders:bool expiresHeader cacheControlHeader directory doDiskSpaceLimiting:bool maxDiskSpaceUsage:uint minFileSizeForComp:uint
			noCompressionForHttp10:bool noCompressionForProxies:bool noCompressionForRange:bool staticCompressionIgnoreHitFrequency:bool
			staticCompressionDisableCpuUsage:uint staticCompressionEnableCpuUsage:uint dynamicCompressionDisableCpuUsage:uint
			dynamicCompressionEnableCpuUsage:uint dynamicCompressionBufferLimit:uint`,
		elements: map[string]*schema{
			"scheme": {attributes: "name doStaticCompression:bool doDynamicCompression:bool dll staticCompressionLevel:uint dynamicCompressionLevel:uint"},
			"remove": {attributes: "name"}, "clear": {},
			"staticTypes":  {elements: collected("mimeType enabled:bool")},
			"dynamicTypes": {elements: collected("mimeType enabled:bool")},
		},
	},
	"system.webServer/httpLogging":       {attributes: "selectiveLogging:LogAll|LogSuccessful|LogError dontLog:bool"},
	"system.webServer/httpTracing":       {elements: map[string]*schema{"traceUrls": {elements: collected("value")}}},
	"system.webServer/odbcLogging":       {attributes: "dataSource tableName userName password"},
	"system.webServer/serverSideInclude": {attributes: "ssiExecDisable:bool"},
	"system.webServer/tracing/traceFailedRequests": {elements: map[string]*schema{
		"add": {attributes: "path customActionExe customActionParams customActionTriggerLimit:uint", elements: map[string]*schema{
			"traceAreas":         {elements: collected("provider areas verbosity:General|CriticalError|Error|Warning|Information|Verbose")},
			"failureDefinitions": {attributes: "timeTaken traceAllAfterTimeout:bool statusCodes verbosity:Ignore|CriticalError|Error|Warning"},
		}},
		"remove": {attributes: "path"}, "clear": {},
	}},
	"system.webServer/tracing/traceProviderDefinitions": {elements: map[string]*schema{
		"add":    {attributes: "name guid", elements: map[string]*schema{"areas": {elements: collected("name value")}}},
		"remove": {attributes: "name"}, "clear": {},
	}},
	"system.webServer/validation": {attributes: "validateIntegratedModeConfiguration:bool"},
	"system.webServer/webdav/authoring": {
		attributes: "enabled:bool requireSsl:bool compatFlags maxAllowedXmlRequestLength:uint",
		elements: map[string]*schema{
			"fileSystem": {attributes: "allowHiddenFiles:bool useTransactionalIo:bool hideChildVirtualDirectories:bool"},
			"properties": {attributes: "allowAnonymousPropfind:bool allowInfinitePropfindDepth:bool allowCustomProperties:bool", elements: collected("xmlNamespace propertyStore")},
			"locks":      {attributes: "enabled:bool lockStore requireLockForWriting:bool"},
		},
	},
	"system.webServer/webdav/authoringRules": {
		attributes: "defaultAccess allowNonMimeMapFiles:bool defaultMimeType",
		elements:   collected("users roles path access"),
	},
}

// check looks for names in another case than that of IIS, and for values that it does not take.
func (s *schema) check(c *context, el *element) {
	if s == nil {
		return
	}
	for attribute := range strings.FieldsSeq(s.attributes) {
		switch name, values, _ := strings.Cut(attribute, ":"); values {
		case "":
			el.lookup(name)
		case "bool":
			c.boolean(el, name, false)
		case "uint":
			c.number(el, name, 0, 0, math.MaxUint32)
		default:
			c.word(el, name, strings.Split(values, "|")...)
		}
	}
	c.cases(el)
	for _, kid := range el.kids {
		for name, inner := range s.elements {
			if kid.is(name) {
				inner.check(c, kid)
			}
		}
		if kid.meant != "" {
			c.unknown(kid, "in "+el.name)
		}
	}
}
