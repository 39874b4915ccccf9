package iisconfig

import "strconv"

// IIS 6 leaves web.config files to .NET: system.webServer came with IIS 7. The metabase of a
// server is that of IIS 6; what adsutil.vbs prints may also be of a later one that has the
// compatibility with IIS 6.

// version returns the major version of the IIS that has a site: 6, or 7 for all later ones. It
// is 0 if adsutil alone has told of the site, and not of the version.
func (b *builder) version(s *Site) int {
	switch s.kind {
	case Metabase:
		return 6
	case Adsutil:
		info := b.iis6.nodes["/lm/w3svc/info"]
		if info == nil {
			return 0
		}
		major, err := strconv.Atoi(info.str("MajorIIsVersionNumber"))
		if err != nil {
			return 0
		}
		return min(max(major, 6), 7)
	}
	return 7
}

// whyNotRead says why IIS does not read the web.config of a place.
func (b *builder) whyNotRead(p webPlace) string {
	if b.version(p.site) <= 6 {
		return "IIS 6 leaves it to .NET"
	}
	return `its virtual directory has allowSubDirConfig="false"`
}
