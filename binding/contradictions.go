package binding

// Contradictions tells which of the sites in a list cannot be beside those that come
// first, or beside one before them in the list: the same binding of started sites, http
// and https on one address and port, two certificates or TLS settings for one record, or
// a binding that is impossible by itself. The order of the list decides, not that of the
// ids. A binding that nobody gives a certificate is no contradiction: that is a matter of
// what else there is.
//
// The findings are those of Compile, each about a site of the list: the later of two. Whatever is wrong
// with those that come first among themselves is left out.
func Contradictions(first []Site, endpoints []Endpoint, list []Site, opts Options) []Finding {
	opts.FirstWins = false
	opts.MaxFindings = 1 + len(first) + 16*len(list)
	c := newCompiler(nil, opts)
	place := make(map[uint32]int, len(list)) // in the list, from 1
	for i := range first {
		c.sites = append(c.sites, &first[i])
	}
	for i := range list {
		c.sites = append(c.sites, &list[i])
		place[list[i].ID] = i + 1
	}
	c.addSites()
	c.addEndpoints(endpoints)
	c.eachBinding(c.addRecord)
	c.route()
	c.eachBinding(c.joinOwn)
	var found []Finding
	for _, f := range c.report.findings {
		if f.Other != 0 && place[f.Other] > place[f.Site] {
			f.Site, f.Other = f.Other, f.Site // a binding that rides on the record of a later one
		}
		if f.Severity == Error && place[f.Site] > 0 && f.Code != CodeNoCertificate {
			found = append(found, f)
		}
	}
	return found
}

// joinOwn compares the settings of a binding without a certificate with those of the
// record under its key.
func (c *compiler) joinOwn(b *BindingEntry) {
	if b.Protocol != HTTPS || b.brings() {
		return
	}
	if own := c.t.own(b); own != nil {
		c.joinSettings(own, &c.makers[own.Index], b)
	}
}
