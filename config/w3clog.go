package config

import (
	"errors"

	"github.com/caddy-iis/caddy-iis/iislog"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
)

// W3CLog is the log of sites in the W3C format, in files as IIS has them:
// W3SVC<id>/u_ex<yymmdd>.log below a folder. What a site leaves out is as in the
// template or the defaults that serve it, and what these leave out as in the app.
type W3CLog struct {
	// If true, the sites that this is for have no such log. It stands alone. Default: false.
	Off bool `json:"off,omitempty"`

	// The folder that has a folder for each site (directory). It is made with the
	// first request. Placeholders such as {env.NAME} are replaced. A folder that
	// cannot be used is a finding, and keeps nothing from being served.
	Folder string `json:"folder,omitempty"`

	// The fields of a line (logExtFileFlags), by the names that stand behind #Fields,
	// in this order; cs(<header>) and sc(<header>) for headers of requests and of
	// responses. Default: date time s-ip cs-method cs-uri-stem cs-uri-query s-port
	// cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus
	// sc-win32-status time-taken.
	Fields []string `json:"fields,omitzero"`

	// Headers under names of their own, behind the other fields (customFields).
	CustomFields []iislog.CustomField `json:"custom_fields,omitzero"`

	// When a new file begins (period): "daily" (default), "hourly", "weekly",
	// "monthly", or "none".
	Period string `json:"period,omitempty"`

	// With period none: the size in bytes at which a new file begins
	// (truncateSize). Default: 0, never.
	MaxSize int64 `json:"max_size,omitempty"`

	// Whether days, weeks and months are those of the local time zone
	// (localTimeRollover). Lines have UTC in any case. Default: false.
	LocalTime bool `json:"local_time,omitempty"`
}

// Over returns what holds where this stands over another one.
func (w *W3CLog) Over(below *W3CLog) *W3CLog {
	switch {
	case w == nil:
		return below
	case w.Off:
		return nil
	case below == nil:
		return w
	}
	both := *w
	if both.Folder == "" {
		both.Folder = below.Folder
	}
	if both.Fields == nil && both.CustomFields == nil {
		both.Fields, both.CustomFields = below.Fields, below.CustomFields
	}
	if both.Period == "" && both.MaxSize == 0 && !both.LocalTime {
		both.Period, both.MaxSize, both.LocalTime = below.Period, below.MaxSize, below.LocalTime
	}
	return &both
}

// Layout understands the settings.
func (w *W3CLog) Layout() (*logfile.Layout, error) {
	period, err := iislog.ParsePeriod(w.Period)
	if err != nil {
		return nil, err
	}
	if w.MaxSize < 0 || w.MaxSize > 0 && period != iislog.None {
		return nil, errors.New("max_size is a number of bytes above 0, and for period none: with another one, files end with it")
	}
	format, err := iislog.NewFormat(w.Fields, w.CustomFields)
	if err != nil {
		return nil, err
	}
	return &logfile.Layout{Format: format, Period: period, Local: w.LocalTime, MaxSize: w.MaxSize}, nil
}
