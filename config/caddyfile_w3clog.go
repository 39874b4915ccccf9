package config

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-iis/caddy-iis/iislog"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// w3cLogWords are those of the block of w3c_log.
var w3cLogWords = []string{"fields", "field", "period", "max_size", "local_time"}

// parseW3CLog parses the option w3c_log. Syntax:
//
//	w3c_log off
//	w3c_log [<folder>] {
//		fields     <names...>
//		field      <name> request_header|response_header <header>
//		period     daily|hourly|weekly|monthly|none
//		max_size   <size>
//		local_time
//	}
func parseW3CLog(d *caddyfile.Dispenser, dst **W3CLog) error {
	here := atToken(d.Token())
	args := d.RemainingArgs()
	if err := gluedBrace(d); err != nil {
		return err
	}
	if *dst != nil {
		return here.Errf("w3c_log is set twice: remove it once")
	}
	if len(args) > 1 {
		return here.Errf("w3c_log takes one folder, not %q as well, expected: w3c_log <folder>, or w3c_log off", args[1])
	}
	w := new(W3CLog)
	*dst = w
	if len(args) == 1 && args[0] == "off" {
		w.Off = true
		return noBlock(d, "w3c_log off")
	}
	if len(args) == 1 {
		w.Folder = args[0]
	}
	words := 0
	for nesting := d.Nesting(); d.NextBlock(nesting); words++ {
		if err := parseW3CLogOption(d, w); err != nil {
			return err
		}
	}
	if words == 0 && w.Folder == "" {
		return here.Errf("w3c_log needs a folder, expected: w3c_log <folder>, such as w3c_log /var/log/w3c, or w3c_log off")
	}
	if w.Period == "" && w.MaxSize > 0 {
		w.Period = iislog.None.String()
	}
	if _, err := w.Layout(); err != nil {
		return here.Errf("w3c_log: %w", err)
	}
	return nil
}

func parseW3CLogOption(d *caddyfile.Dispenser, w *W3CLog) error {
	switch word := d.Val(); word {
	case "fields":
		if d.CountRemainingArgs() == 0 {
			return d.Errf("fields expects names of fields, such as fields date time c-ip cs-uri-stem sc-status")
		}
		w.Fields = append(w.Fields, d.RemainingArgs()...)
		return noBlock(d, word)
	case "field":
		return parseW3CField(d, w)
	case "period":
		return oneWord(d, &w.Period, iislog.PeriodWords()...)
	case "max_size":
		return parseMaxSize(d, &w.MaxSize)
	case "local_time":
		w.LocalTime = true
		return bareWord(d)
	default:
		return d.Errf("w3c_log: unknown word %q: expected one of %s%s", word, strings.Join(w3cLogWords, ", "), near.Hint(word, w3cLogWords))
	}
}

func parseW3CField(d *caddyfile.Dispenser, w *W3CLog) error {
	here := atToken(d.Token())
	custom, err := iislog.ParseCustomField(d.RemainingArgs())
	if err != nil {
		return here.Errf("%w", err)
	}
	w.CustomFields = append(w.CustomFields, custom)
	return noBlock(d, "field")
}

func parseMaxSize(d *caddyfile.Dispenser, dst *int64) error {
	word, err := oneArg(d, "max_size <size>, such as max_size 20MiB")
	if err != nil {
		return err
	}
	const most = 1 << 40
	size, err := humanize.ParseBytes(word)
	if err != nil || size == 0 || size > most {
		return d.Errf("max_size: %q is not a size, such as 20MiB", word)
	}
	if *dst != 0 && *dst != int64(size) {
		return d.Errf("max_size is set twice")
	}
	*dst = int64(size)
	return nil
}
