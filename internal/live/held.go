package live

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
)

// HeldBack is a row that is accepted and not served.
type HeldBack struct {
	Name   string // of the site, if that much is known
	Reason string
	Socket bool // it waits for a socket
	Partly bool // the rest of it is served
	Waits  bool // for others only: by itself it could be served

	NotReady bool // its own routes were not in time
	Full     bool // too many rows have routes of their own

	Outside bool // of what the source's rows may claim

	// Input is what it asks for, as far as it can be understood.
	Input binding.Site

	nth      uint64 // of all that the source has held back
	revision uint64 // of the row
}

// Hold notes that a row is not served.
func (s *Source) Hold(id uint32, held HeldBack, input binding.Site) {
	held.Name, held.Input = input.Name, input
	held.revision, _ = s.Follower.RevisionOf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.held[id]; TriedAgain(&held) && (!TriedAgain(&before) || before.revision != held.revision) {
		s.soon()
	}
	s.holds++
	held.nth = s.holds
	if _, known := s.held[id]; !known {
		s.order = nil
	}
	s.held[id] = held
}

// Holds counts what was held back so far.
func (s *Source) Holds() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds
}

// EachHeld calls a function with each row that is held back, by id, under a lock. What it is
// given is its own until it returns.
func (s *Source) EachHeld(each func(id uint32, held *HeldBack)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var held HeldBack
	for _, id := range s.heldOrder() {
		held = s.held[id]
		each(id, &held)
	}
}

// heldOrder returns the ids of the rows that are held back, in order: of lists that are read
// page by page each page asks for them. The caller holds s.mu, and changes nothing of them.
func (s *Source) heldOrder() []uint32 {
	if s.order == nil {
		s.order = slices.Sorted(maps.Keys(s.held))
	}
	return s.order
}

// AllHeldIDs returns the rows that are held back, by id.
func (s *Source) AllHeldIDs() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heldOrder())
}

// CountHeld counts the rows that are held back, and those of a list, sorted, that are not.
func (s *Source) CountHeld(others []uint32) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := len(s.held)
	for i, id := range others {
		if _, counted := s.held[id]; !counted && (i == 0 || others[i-1] != id) {
			held++
		}
	}
	return held
}

// HeldIDs returns the rows that are held back and wanted, by id.
func (s *Source) HeldIDs(wanted func(*HeldBack) bool) (ids []uint32) {
	s.EachHeld(func(id uint32, held *HeldBack) {
		if wanted(held) {
			ids = append(ids, id)
		}
	})
	return ids
}

// HeldDocuments returns what is accepted of rows that are held back.
func (s *Source) HeldDocuments(wanted func(*HeldBack) bool) []json.RawMessage {
	return s.ServedDocuments(s.HeldIDs(wanted))
}

// ServedDocuments returns what is accepted of rows, as far as anything is.
func (s *Source) ServedDocuments(ids []uint32) (documents []json.RawMessage) {
	for _, id := range ids {
		if row, ok, err := s.Follower.Row(id); ok && err == nil && row.Served() != nil {
			documents = append(documents, row.Served())
		}
	}
	return documents
}

// HeldInputs returns what the rows ask for that are held back.
func (s *Source) HeldInputs() (inputs []binding.Site) {
	s.EachHeld(func(_ uint32, held *HeldBack) { inputs = append(inputs, held.Input) })
	return inputs
}

// HeldRow returns why a row is not served, if it is not.
func (s *Source) HeldRow(id uint32) (HeldBack, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.held[id]
	return held, ok
}

// HeldRow returns why a row is not served, and its source; nil if there is no such row.
func (l Sources) HeldRow(id uint32) (HeldBack, *Source) {
	for _, source := range l {
		if held, ok := source.HeldRow(id); ok {
			return held, source
		}
	}
	return HeldBack{}, nil
}

// LetGo forgets why rows were held back: they are served, or gone.
func (s *Source) LetGo(ids ...uint32) {
	s.mu.Lock()
	for _, id := range ids {
		if _, held := s.held[id]; held {
			delete(s.held, id)
			s.order = nil
		}
	}
	s.mu.Unlock()
	s.Follower.TellNews() // who waits for them looked too early when they were served
}

// LetGoUntil forgets why rows were held back, except those that were so after a number of
// Holds.
func (s *Source) LetGoUntil(holds uint64, ids []uint32) {
	s.LetGo(slices.DeleteFunc(ids, func(id uint32) bool {
		held, ok := s.HeldRow(id)
		return !ok || held.nth > holds
	})...)
}

// NextHeld returns rows that are held back and whose turn it is to be tried: all in
// turn, some after each change.
func (s *Source) NextHeld(most int, wanted func(*HeldBack) bool) []uint32 {
	ids := s.HeldIDs(wanted)
	s.mu.Lock()
	defer s.mu.Unlock()
	first, _ := slices.BinarySearch(ids, s.tried+1)
	ids = slices.Concat(ids[first:], ids[:first])
	ids = ids[:min(len(ids), most)]
	if len(ids) > 0 {
		s.tried = ids[len(ids)-1]
	}
	slices.Sort(ids)
	return ids
}
