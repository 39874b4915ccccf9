package iisconfig

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// LogFile is how a site is logged: the element logFile, or the properties LogFile...
// of IIS 6.
type LogFile struct {
	Enabled bool `json:"enabled"`
	// Format is W3C, IIS, NCSA or Custom.
	Format    string `json:"format,omitempty"`
	Directory string `json:"directory,omitempty"`
	// Flags are the fields as logExtFileFlags has them: "Date, Time, ClientIP"; empty if
	// nobody has chosen any.
	Flags string `json:"flags,omitempty"`
	// Period is Hourly, Daily, Weekly, Monthly or MaxSize.
	Period string `json:"period,omitempty"`
	// TruncateSize is, for MaxSize, the size in bytes at which a new file begins.
	TruncateSize int64            `json:"truncate_size,omitempty"`
	LocalTime    bool             `json:"local_time,omitempty"`
	CustomFields []LogCustomField `json:"custom_fields,omitempty"`
	Source       Source           `json:"source"`
}

// LogCustomField is a custom field of a log (IIS 8.5).
type LogCustomField struct {
	Name       string `json:"name"`
	SourceName string `json:"source_name"`
	SourceType string `json:"source_type"` // RequestHeader, ResponseHeader, ServerVariable
}

// defaultLogSize is the truncateSize of those who have none.
const defaultLogSize = 20 << 20

// unlimitedLog is the truncateSize of a file that never ends.
const unlimitedLog = math.MaxUint32

// logFile reads the element logFile. Attributes that a site does not have come from
// siteDefaults; its custom fields are its own.
func (r *configReader) logFile(own, defaults *element) *LogFile {
	if own == nil && defaults == nil {
		return nil
	}
	c := r.ctx
	at := cmp.Or(own, defaults)
	text := func(name string) string { _, v := inherit(name, own, defaults); return v }
	l := &LogFile{
		Enabled: c.inheritBool("enabled", true, own, defaults), LocalTime: c.inheritBool("localTimeRollover", false, own, defaults),
		Format: text("logFormat"), Directory: text("directory"), Flags: text("logExtFileFlags"), Period: text("period"),
		Source: c.src(at),
	}
	if el, _ := inherit("truncateSize", own, defaults); el != nil {
		if size := c.number(el, "truncateSize", defaultLogSize, 0, unlimitedLog); size < unlimitedLog {
			l.TruncateSize = size
		}
	} else if strings.EqualFold(l.Period, mbPeriods[0]) {
		l.TruncateSize = defaultLogSize
	}
	for _, el := range []*element{own, defaults} {
		if el == nil {
			continue
		}
		el.ignore("logTargetW3C", "customLogPluginClsid", "logSiteId", "flushByEntryCountW3CLog", "maxLogLineLength")
		c.attributes(el)
		for _, kid := range el.kids {
			if kid.name != "customFields" {
				c.unknown(kid, "in logFile")
				continue
			}
			l.custom(kid)
		}
	}
	return l
}

func (l *LogFile) custom(el *element) {
	el.ignore("maxCustomFieldLength")
	for _, kid := range el.kids {
		if kid.name == "add" {
			l.CustomFields = append(l.CustomFields, LogCustomField{kid.str("logFieldName"), kid.str("sourceName"), kid.str("sourceType")})
		}
	}
}

// mbPeriods are the values of LogFilePeriod.
var mbPeriods = []string{"MaxSize", "Daily", "Weekly", "Monthly", "Hourly"}

// mbLogFlags are the bits of LogExtFileFlags from the lowest, in the words of IIS 7.
var mbLogFlags = []string{
	"Date", "Time", "ClientIP", "UserName", "SiteName", "ComputerName", "ServerIP", "Method", "UriStem", "UriQuery", "HttpStatus",
	"Win32Status", "BytesSent", "BytesRecv", "TimeTaken", "ServerPort", "UserAgent", "Cookie", "Referer", "ProtocolVersion", "Host", "HttpSubStatus",
}

// logFile reads how a site of IIS 6 is logged, nil if nothing tells.
func (c *converter) logFile(n *mbNode) *LogFile {
	up := func(name string) string { return c.m.up(n, name) }
	l := &LogFile{Enabled: up("LogType") != "0", Format: "W3C", Directory: up("LogFileDirectory"), Source: n.source}
	flags, period := up("LogExtFileFlags"), up("LogFilePeriod")
	if l.Directory == "" && flags == "" && period == "" {
		return nil
	}
	l.LocalTime = strings.EqualFold(up("LogFileLocaltimeRollover"), "true") || up("LogFileLocaltimeRollover") == "1"
	if i, err := strconv.Atoi(period); err == nil && i >= 0 && i < len(mbPeriods) {
		l.Period = mbPeriods[i]
	}
	truncate := up("LogFileTruncateSize")
	if truncate == "" && l.Period == mbPeriods[0] {
		l.TruncateSize = defaultLogSize
	}
	if size, err := strconv.ParseInt(truncate, 10, 64); err == nil && size > 0 && size < unlimitedLog {
		l.TruncateSize = size
	}
	var words []string
	for i, word := range mbLogFlags {
		if flags != "" && mbBit(flags, "logextfile"+strings.ToLower(word), 1<<i) {
			words = append(words, word)
		}
	}
	l.Flags = strings.Join(words, ", ")
	return l
}
