package serve

// ProvisionAhead provisions routes that sites of a change bring with them before anybody
// has to wait for it, and keeps them until it is called that the change is over. Whether they
// can be provisioned is told when the change is judged.
func (a *Instance) ProvisionAhead(source *LiveSource, changes []SiteChange) (over func()) {
	if source.routes == nil {
		return func() {}
	}
	var pinned []*ownContent
	for i := range changes {
		c := &changes[i]
		row, there, err := source.Follower.Row(c.ID)
		if err != nil {
			continue
		}
		document, err := c.wanted(row, there)
		if err != nil || document == nil {
			continue
		}
		site, err := source.read(c.ID, document)
		if err != nil || site.cfg.OwnRoutes == nil {
			continue
		}
		if len(pinned) >= source.routes.MaxSites {
			break // more will not be admitted
		}
		if own, err := a.own.pin(site.cfg.OwnRoutes); err == nil {
			pinned = append(pinned, own)
		}
	}
	return func() { a.own.unpin(pinned...) }
}
