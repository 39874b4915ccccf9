package binding

import (
	"cmp"
	"iter"
	"slices"
	"sync"
)

// siteList lists sites in order of their ids. The list is in chunks, so that another one
// in which a site differs shares all of them but one: there may be a million sites, of
// which one changes. A list that is part of tables does not change.
type siteList struct {
	chunks [][]*SiteEntry // none is empty
	size   int
	flat   func() []*SiteEntry // made when it is asked for first
}

// chunkSize is how many sites a chunk has at first; it is halved at twice as many.
const chunkSize = 512

func newSiteList(sites []*SiteEntry) *siteList {
	l := &siteList{size: len(sites), flat: func() []*SiteEntry { return sites }}
	for chunk := range slices.Chunk(sites, chunkSize) {
		l.chunks = append(l.chunks, chunk)
	}
	return l
}

// edit returns a copy that is to be changed, and then finished.
func (l *siteList) edit() *siteList { return &siteList{chunks: slices.Clone(l.chunks), size: l.size} }

// finish ends the changes of a list.
func (l *siteList) finish() {
	l.flat = sync.OnceValue(func() []*SiteEntry { return slices.Concat(l.chunks...) })
}

// all lists the sites.
func (l *siteList) all() iter.Seq[*SiteEntry] {
	return func(yield func(*SiteEntry) bool) {
		for _, chunk := range l.chunks {
			for _, site := range chunk {
				if !yield(site) {
					return
				}
			}
		}
	}
}

// last returns the highest id, 0 if there is no site.
func (l *siteList) last() uint32 {
	if len(l.chunks) == 0 {
		return 0
	}
	chunk := l.chunks[len(l.chunks)-1]
	return chunk[len(chunk)-1].ID
}

// find returns the site with an id, nil if there is none.
func (l *siteList) find(id uint32) *SiteEntry {
	i, j, ok := l.search(id)
	if !ok {
		return nil
	}
	return l.chunks[i][j]
}

// search returns the place of a site, or the one where it would be.
func (l *siteList) search(id uint32) (chunk, place int, ok bool) {
	if len(l.chunks) == 0 {
		return 0, 0, false
	}
	chunk, first := slices.BinarySearchFunc(l.chunks, id, func(c []*SiteEntry, id uint32) int { return cmp.Compare(c[0].ID, id) })
	if !first && chunk > 0 {
		chunk--
	}
	place, ok = slices.BinarySearchFunc(l.chunks[chunk], id, func(s *SiteEntry, id uint32) int { return cmp.Compare(s.ID, id) })
	return chunk, place, ok
}

// remove takes a site out of the list that is being changed, if it is there.
func (l *siteList) remove(id uint32) (*SiteEntry, bool) {
	i, j, ok := l.search(id)
	if !ok {
		return nil, false
	}
	site := l.chunks[i][j]
	l.size--
	if len(l.chunks[i]) == 1 {
		l.chunks = slices.Delete(l.chunks, i, i+1)
		return site, true
	}
	l.chunks[i] = slices.Concat(l.chunks[i][:j], l.chunks[i][j+1:])
	return site, true
}

// insert puts a site into the list that is being changed. It reports false if its id is
// there already.
func (l *siteList) insert(site *SiteEntry) bool {
	i, j, exists := l.search(site.ID)
	if exists {
		return false
	}
	l.size++
	if len(l.chunks) == 0 {
		l.chunks = [][]*SiteEntry{{site}}
		return true
	}
	chunk := slices.Concat(l.chunks[i][:j], []*SiteEntry{site}, l.chunks[i][j:])
	if len(chunk) < 2*chunkSize {
		l.chunks[i] = chunk
		return true
	}
	l.chunks[i] = chunk[:chunkSize:chunkSize]
	l.chunks = slices.Insert(l.chunks, i+1, chunk[chunkSize:])
	return true
}
