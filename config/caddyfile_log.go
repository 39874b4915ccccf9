package config

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// accessLogger is the logger whose children, by site id, are the access logs.
const accessLogger = "iis.log.access"

// bareLog parses log without arguments: where a log is written, only Caddy's
// global log option can say.
func bareLog(d *caddyfile.Dispenser, dst *bool, name, logger string) error {
	segment := d.NextSegment()
	*dst = true
	if len(segment) == 1 {
		return nil
	}
	return fmt.Errorf("%s:%d: log stands alone here and turns the access log on; where it is written, "+
		"Caddy's global option log says, beside iis:\n%s", segment[0].File, segment[0].Line, globalLog(segment, name, logger))
}

// globalLog writes a site's log option as the global one.
func globalLog(segment caddyfile.Segment, name, logger string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tlog %s {\n\t\tinclude %s", name, logger)
	d := caddyfile.NewDispenser(segment)
	d.Next() // log
	d.RemainingArgs()
	for d.NextBlock(0) {
		if opensBlock(d.Token()) {
			b.WriteString(" {")
			continue
		}
		line := strings.Join(append([]string{d.ValRaw()}, d.RemainingArgsRaw()...), " ")
		if line == "no_hostname" || strings.HasPrefix(line, "hostnames ") {
			continue // not in the global option
		}
		b.WriteString("\n" + strings.Repeat("\t", 1+d.Nesting()) + line)
	}
	b.WriteString("\n\t}")
	return b.String()
}
