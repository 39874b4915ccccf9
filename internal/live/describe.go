package live

import (
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
)

// Describe tells what there is to know of a source.
func (s *Source) Describe() adminapi.Source {
	f := s.Follower
	head, rows := f.Size()
	shown := adminapi.Source{
		Name: s.Name, Kind: strings.TrimPrefix(string(s.module.CaddyModule().ID), sites.Namespace+"."), Writable: true,
		Sites: rows, ID: head.Source, Revision: head.Revision, Mark: head.Mark,
	}
	shown.Certificates = len(f.CertificateNames())
	shown.TakesCertificates = f.CertificateTable() != nil && s.sealer.Seals()
	f.addShared(&shown)
	if damage := f.Damage(); damage != nil {
		shown.Writable, shown.Damaged, shown.Error = false, true, damage.Error()
	}
	return shown
}

// addShared adds to a source what a shared table has to say.
func (f *Follower) addShared(shown *adminapi.Source) {
	if f.Shared == nil {
		return
	}
	status := f.Shared.Status()
	shown.Writable = !status.ReadOnly
	shown.From, shown.Up, shown.Error = "engine", new(status.Up), status.Error
	if status.Snapshot {
		shown.From = "snapshot"
	}
	if !status.Loaded {
		shown.From = ""
	}
	shown.Seen = status.Seen
	if !status.Contact.IsZero() {
		shown.ContactAge = new(time.Since(status.Contact).Seconds())
	}
	if !status.SavedAt.IsZero() {
		shown.SnapshotRevision = status.SavedRevision
		shown.SnapshotAge = new(max(0, time.Since(status.SavedAt).Seconds()))
	}
	shown.Open, shown.Refused = f.CountOpen()
}
