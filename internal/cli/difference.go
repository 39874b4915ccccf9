package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// difference is what makes of an IIS server that was imported what runs now. What an import
// makes of the server is what was there, so that nothing else is a change.
type difference struct {
	old     map[uint32]target
	records map[string]oldRecord // that bindings use, by netsh's key
	remove  string               // in front of what takes something away
}

// oldRecord is the certificate of a record, and those bits of sslFlags that a record has, too.
type oldRecord struct {
	hash, store string
	flags       binding.Flags
}

// newDifference reads what was imported.
func newDifference(server *iisconfig.Server, removals bool) *difference {
	d := &difference{old: make(map[uint32]target), records: make(map[string]oldRecord), remove: "rem "}
	if removals {
		d.remove = ""
	}
	flags := make(map[string]binding.Flags)
	for _, site := range iisimport.Import(server, iisimport.Options{}).Sites {
		t := target{id: site.ID, name: site.Name, stopped: site.Stopped}
		for _, b := range site.Bindings {
			bound := targetBinding{Binding: b.Parsed, flags: b.Flags}
			t.bindings = append(t.bindings, bound)
			if key := bound.netshKey(); bound.Protocol == binding.HTTPS {
				flags[key] = b.Flags & recordFlags
			}
		}
		d.old[t.id] = t
	}
	for _, r := range server.Certificates {
		if r.Bindings > 0 && r.Kind != iisconfig.RecordScopedCentralStore {
			key := string(r.Kind) + "=" + strings.ToLower(r.Key)
			d.records[key] = oldRecord{r.Hash, r.StoreName, flags[key]}
		}
	}
	for _, site := range server.Sites { // without netsh's output, bindings may tell
		for _, b := range site.Bindings {
			if b.Parsed == nil || b.CertificateHash == "" {
				continue
			}
			if key := (targetBinding{Binding: *b.Parsed, flags: b.SSLFlags}).netshKey(); d.records[key].hash == "" {
				d.records[key] = oldRecord{b.CertificateHash, b.StoreName, flags[key]}
			}
		}
	}
	return d
}

// recordFlags are the bits of sslFlags that a record has, too.
const recordFlags = binding.FlagNoHTTP2 | binding.FlagNoOCSP | binding.FlagNoQUIC | binding.FlagNoTLS13 | binding.FlagNoLegacyTLS

// appcmd writes first what is gone, then new names, then what is new or different.
func (d *difference) appcmd(targets []target) []string {
	now := make(map[uint32]target, len(targets))
	for _, t := range targets {
		now[t.id] = t
	}
	var gone, changed []string
	for _, id := range slices.Sorted(maps.Keys(d.old)) {
		old := d.old[id]
		t, still := now[id]
		if !still {
			gone = append(gone, d.remove+old.deleteLine())
			continue
		}
		for _, b := range old.bindings {
			if t.find(b) == nil {
				gone = append(gone, d.remove+old.appcmd("-", b.element(false)))
			}
		}
	}
	for _, t := range targets {
		changed = append(changed, d.siteLines(t)...)
	}
	return slices.Concat(gone, d.renameLines(targets), changed)
}

// siteLines adds a site, or changes what is different.
func (d *difference) siteLines(t target) (lines []string) {
	old, had := d.old[t.id]
	if !had {
		if t.name == "" || t.oddName() {
			t.name = "Site " + strconv.FormatUint(uint64(t.id), 10) // appcmd cannot take another
		}
		lines = append(lines, fmt.Sprintf(`appcmd.exe add site "/name:%s" "/id:%d"`, t.name, t.id),
			fmt.Sprintf(`rem its folder: appcmd.exe add app "/site.name:%s" /path:/ /physicalPath:FOLDER`, t.name))
	} else if t.name == "" || t.oddName() {
		t.name = "" // by its id
	}
	for _, b := range t.bindings {
		switch was := old.find(b); {
		case was == nil:
			lines = append(lines, t.appcmd("+", b.element(true)))
		case was.flags != b.flags:
			lines = append(lines, t.appcmd("", fmt.Sprintf("%s.sslFlags:%d", b.element(false), b.flags)))
		}
	}
	if old.stopped != t.stopped {
		lines = append(lines, t.appcmd("", fmt.Sprintf("serverAutoStart:%t", !t.stopped)))
	}
	return lines
}

// renameLines gives sites their names. One whose name another site still has, has its id as
// name in between.
func (d *difference) renameLines(targets []target) (lines []string) {
	taken := make(map[string]uint32)
	for id, old := range d.old {
		taken[strings.ToLower(old.name)] = id
	}
	var direct, last []string
	for _, t := range targets {
		old, had := d.old[t.id]
		if !had || old.name == t.name || t.name == "" || t.oddName() {
			continue
		}
		if other, ok := taken[strings.ToLower(t.name)]; ok && other != t.id {
			between := target{id: t.id, name: "Site " + strconv.FormatUint(uint64(t.id), 10) + " of before"}
			lines = append(lines, old.appcmd("", "name:"+between.name))
			last = append(last, between.appcmd("", "name:"+t.name))
			continue
		}
		direct = append(direct, old.appcmd("", "name:"+t.name))
	}
	return slices.Concat(lines, direct, last)
}

func (t target) deleteLine() string {
	if t.name == "" || t.oddName() {
		return fmt.Sprintf(`appcmd.exe set config -section:system.applicationHost/sites "/-[id='%d']" /commit:apphost`, t.id)
	}
	return fmt.Sprintf(`appcmd.exe delete site "%s"`, t.name)
}

// find returns the binding with the same protocol and information; nil if there is none.
func (t target) find(b targetBinding) *targetBinding {
	i := slices.IndexFunc(t.bindings, func(other targetBinding) bool { return other.Protocol == b.Protocol && other.String() == b.String() })
	if i < 0 {
		return nil
	}
	return &t.bindings[i]
}

// netsh writes records that are new, that have another certificate or other settings, and
// those that no binding uses any more.
func (d *difference) netsh(targets []target) []string {
	var lines []string
	wanted := make(map[string]bool)
	for _, t := range targets {
		for _, b := range t.bindings {
			key := strings.ToLower(b.netshKey())
			if b.Protocol != binding.HTTPS || wanted[key] {
				continue
			}
			wanted[key] = true
			old, had := d.records[key]
			switch same := b.thumbprint == "" || strings.EqualFold(old.hash, b.thumbprint); {
			case !had:
				lines = append(lines, b.netshLine("add", key, "MY", 0))
			case !same:
				lines = append(lines, b.netshLine("update", key, "MY", old.flags))
			case b.flags&recordFlags != old.flags:
				b.thumbprint = old.hash
				lines = append(lines, b.netshLine("update", key, cmp.Or(old.store, "MY"), old.flags))
			}
		}
	}
	var gone []string
	for _, key := range slices.Sorted(maps.Keys(d.records)) {
		if !wanted[key] {
			gone = append(gone, d.remove+"netsh http delete sslcert "+key)
		}
	}
	return append(gone, lines...)
}
