package serve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// standsAlone refuses a sites file that is good only with what rows of sources give, such
// as the certificate of an address and port: they go when somebody deletes them, and at a
// start they come after the file.
func (a *Instance) standsAlone(next *Snapshot, where func(id uint32) string) error {
	if len(a.Live) == 0 {
		return nil
	}
	own := slices.DeleteFunc(next.Tables.Inputs(), func(s binding.Site) bool {
		return a.liveSource(next.Sites.At(next.Tables.SiteByID(s.ID).Index).Source) != nil
	})
	_, _, err := binding.Compile(own, a.BoundEndpoints, a.bindingOptions())
	if err == nil {
		return nil
	}
	var names []string
	for _, source := range a.Live {
		names = append(names, source.Name)
	}
	return fmt.Errorf("%w (the file cannot count on the sites of %s, which may go at any time)", locate(err, where), strings.Join(names, " and "))
}

// leansAnew reports whether a change that concerns no other sites may make sites of the
// file depend on rows: if a binding has a certificate that is neither its own nor an
// endpoint's, or another one with the certificate of a whole address has gone.
func (a *Instance) leansAnew(before, next *Snapshot, changed []configured, removed []uint32) bool {
	if len(a.Live) == 0 {
		return false
	}
	gives := func(b binding.BindingEntry) bool {
		return b.Protocol == binding.HTTPS && b.Certificate != "" && b.Flags&binding.FlagSNI == 0
	}
	leans := func(b binding.BindingEntry) bool {
		return b.Protocol == binding.HTTPS && b.Certificate == "" && b.Flags&(binding.FlagCentralStore|binding.FlagReject) == 0 && b.Record != nil && !slices.ContainsFunc(a.BoundEndpoints, func(e binding.Endpoint) bool {
			return e.Certificate != "" && e.IP == b.Record.IP && e.Port == b.Record.Port
		})
	}
	for _, id := range slices.Concat(removed, idsOf(changed)) {
		if old := before.Tables.SiteByID(id); old != nil && slices.ContainsFunc(old.Bindings, gives) {
			return true
		}
	}
	return slices.ContainsFunc(changed, func(c configured) bool {
		return slices.ContainsFunc(next.Tables.SiteByID(c.id).Bindings, leans)
	})
}
