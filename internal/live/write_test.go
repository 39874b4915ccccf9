package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
)

// TestPlanChange: what a change comes to depends on the row that there is, and on what the
// change says about it.
func TestPlanChange(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	write := func(id uint32, document string) uint64 {
		head, err := m.Write(sites.Transaction{Changes: []sites.Change{{ID: id, Document: json.RawMessage(document)}}})
		if err != nil {
			t.Fatal(err)
		}
		s.Follower.NoteWritten(head, []Result{{ID: id, Revision: head.Revision}})
		return head.Revision
	}
	there := write(2, `{"name":"two"}`)
	m.write(map[uint32]string{3: `{"name":"three"}`})
	receive(s, m) // and it is accepted
	m.mu.Lock()
	open := m.rows[3]
	open.Open = true
	m.rows[3] = open
	m.mu.Unlock()
	const tagOfTwo = `"one:%d:991001a9a869"` // of SHA-256
	zero, one, this := uint64(0), uint64(1), there
	tagged := func(tag string) *SiteChange { return &SiteChange{Change: adminapi.Change{IfMatch: &tag}} }
	revision := func(n *uint64) *SiteChange { return &SiteChange{Change: adminapi.Change{If: n}} }
	whatever, isNew, tag := new(SiteChange), &SiteChange{None: true}, fmt.Sprintf(tagOfTwo, there)
	large := json.RawMessage(`{"name":"` + strings.Repeat("x", 2<<20) + `"}`)
	for _, c := range []struct {
		name     string
		op       string
		id       uint32
		site     string
		when     *SiteChange // its condition
		required bool        // by the source
		status   int         // of the refusal
		wants    string
		result   string
	}{
		{"a new one", adminapi.OpPut, 9, `{"name": "nine"}`, whatever, false, 0, `{"name":"nine"}`, "created"},
		{"a new one that must be", adminapi.OpPut, 9, `{}`, isNew, true, 0, `{}`, "created"},
		{"a new one of revision 0", adminapi.OpPut, 9, `{}`, revision(&zero), true, 0, `{}`, "created"},
		{"a new one of some revision", adminapi.OpPut, 9, `{}`, revision(&one), false, http.StatusPreconditionFailed, "", ""},
		{"a change", adminapi.OpPut, 2, `{"name":"other"}`, whatever, false, 0, `{"name":"other"}`, "changed"},
		{"a change of this revision", adminapi.OpPut, 2, `{}`, revision(&this), true, 0, `{}`, "changed"},
		{"a change of another revision", adminapi.OpPut, 2, `{}`, revision(&one), false, http.StatusPreconditionFailed, "", ""},
		{"a change of this tag", adminapi.OpPut, 2, `{}`, tagged(tag), true, 0, `{}`, "changed"},
		{"a change of any tag", adminapi.OpPut, 2, `{}`, tagged("*"), true, 0, `{}`, "changed"},
		{"a change of another document", adminapi.OpPut, 2, `{}`, tagged(fmt.Sprintf(`"one:%d:000000000000"`, there)), false, http.StatusPreconditionFailed, "", ""},
		{"a change of a tag without document", adminapi.OpPut, 2, `{}`, tagged(fmt.Sprintf(`"one:%d"`, there)), false, http.StatusPreconditionFailed, "", ""},
		{"a change of another table", adminapi.OpPut, 2, `{}`, tagged(strings.Replace(tag, "one", "two", 1)), false, http.StatusPreconditionFailed, "", ""},
		{"a change of an empty tag", adminapi.OpPut, 2, `{}`, tagged(""), false, http.StatusPreconditionFailed, "", ""},
		{"a new one of a tag", adminapi.OpPut, 9, `{}`, tagged(tag), false, http.StatusPreconditionFailed, "", ""},
		{"a new one of any tag", adminapi.OpPut, 9, `{}`, tagged("*"), false, http.StatusPreconditionFailed, "", ""},
		{"the same, of another tag", adminapi.OpPut, 2, `{"name":"two"}`, tagged(""), true, 0, `{"name":"two"}`, "same"},
		{"a change of what must be new", adminapi.OpPut, 2, `{}`, isNew, false, http.StatusPreconditionFailed, "", ""},
		{"a change of no revision", adminapi.OpPut, 2, `{}`, whatever, true, http.StatusPreconditionRequired, "", ""},
		{"the same", adminapi.OpPut, 2, ` { "name" : "two" } `, revision(&one), true, 0, `{"name":"two"}`, "same"},
		{"the same, which is not accepted", adminapi.OpPut, 3, `{"name":"three"}`, whatever, false, 0, `{"name":"three"}`, "accepted"},
		{"a patch", adminapi.OpPatch, 2, `{"template":"php"}`, whatever, false, 0, `{"name":"two","template":"php"}`, "changed"},
		{"a patch of nothing", adminapi.OpPatch, 9, `{}`, whatever, false, http.StatusNotFound, "", ""},
		{"it goes", adminapi.OpDelete, 2, ``, whatever, false, 0, ``, "deleted"},
		{"nothing goes", adminapi.OpDelete, 9, ``, whatever, false, http.StatusNotFound, "", ""},
		{"no JSON", adminapi.OpPut, 2, `{`, whatever, false, http.StatusUnprocessableEntity, "", ""},
		{"too large", adminapi.OpPut, 2, string(large), whatever, false, http.StatusRequestEntityTooLarge, "", ""},
	} {
		s.RequireIfMatch = c.required
		change := &SiteChange{Change: adminapi.Change{Op: c.op, ID: c.id, If: c.when.If, IfMatch: c.when.IfMatch}, None: c.when.None}
		if c.site != "" {
			change.Site = json.RawMessage(c.site)
		}
		var plan Plan
		document, same, err := plan.Change(s, change)
		status := 0
		if refused, ok := errors.AsType[*WriteError](err); ok {
			if status = refused.Status; refused.ID != c.id {
				t.Errorf("%s: the refusal is about %d", c.name, refused.ID)
			}
			if status == http.StatusPreconditionFailed && c.id == 2 && (refused.ETag != fmt.Sprintf(tagOfTwo, there) || string(refused.Site) != `{"name":"two"}`) {
				t.Errorf("%s: the refusal tells %s %s", c.name, refused.ETag, refused.Site)
			}
		}
		if status != c.status || string(document) != c.wants || same != (c.result == "same") {
			t.Errorf("%s: %d %s %v (%v)", c.name, status, document, same, err)
		}
		if err != nil {
			continue
		}
		plan.WrittenAt(99)
		r := plan.Results[0]
		rows := 1
		if c.result == "same" {
			rows = 0
		}
		keeps := c.result == "same" || c.result == "accepted"
		if r.Created != (c.result == "created") || r.Deleted != (c.result == "deleted") || (r.Revision == 99) == keeps || len(plan.Rows) != rows {
			t.Errorf("%s: %+v, written %+v", c.name, r, plan.Rows)
		}
		if _, _, err := plan.Change(s, change); err == nil {
			t.Errorf("%s: twice in one transaction", c.name)
		}
	}
}

// TestNoteWritten: what this server has written is known at once, and a configuration that is
// being loaded learns it when it takes over.
func TestNoteWritten(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: host("two.test"), 3: host("three.test"), 4: host("four.test")})
	receive(s, m)
	_, next := openSource(t, &given{table: m}, n)
	if owner, err := next.Claim(t.Context()); err != nil || owner != s {
		t.Errorf("a configuration that does not serve claims the table of %p: %p", s, owner)
	}
	if owner, err := s.Claim(t.Context()); err != nil || owner != s {
		t.Fatal("the configuration that serves does not own the table")
	}
	head, err := m.Write(sites.Transaction{Changes: []sites.Change{{ID: 2}, {ID: 4, Document: json.RawMessage(host("other.test"))}, {ID: 7, Document: json.RawMessage(host("seven.test"))}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Follower.NoteWritten(head, []Result{{ID: 2, Deleted: true}, {ID: 4, Revision: head.Revision}, {ID: 7, Revision: head.Revision}, {ID: 3, Same: true}})
	s.Unlock()
	if now, rows := s.Follower.Size(); now != head || rows != 3 {
		t.Errorf("%d rows at %v", rows, now)
	}
	if _, there := s.Follower.RevisionOf(2); there {
		t.Error("row 2 is deleted and known")
	}
	next.Hold(2, HeldBack{}, inputOf(t, 2))
	if !next.TakeOver() {
		t.Error("nothing is said to have been written meanwhile")
	}
	changed, gone := next.Moved(map[uint32]bool{2: true, 3: true, 4: true})
	next.Unlock()
	if fmt.Sprint(changed, gone) != "[4 7] [2]" {
		t.Errorf("changed %v, gone %v", changed, gone)
	}
	if _, held := next.HeldRow(2); !held {
		t.Error("row 2 is let go before its node has decided")
	}
	if s.Follower.Owner() != next {
		t.Error("it is not taken over")
	}
	if err := s.Close(); err != nil || next.Follower.Owner() != next {
		t.Errorf("the end of the configuration before takes it away: %v", err)
	}
	s.Follower = nil // and it is not closed once more
}

// TestFor: a change is for the source that it names, for that of its site, or for the first that
// can be written.
func TestFor(t *testing.T) {
	var list Sources
	if _, err := list.For("", nil); err == nil || err.(*WriteError).Status != http.StatusMethodNotAllowed {
		t.Errorf("without a source: %v", err)
	}
	tables := []*memory{newMemory(), newMemory(), newMemory()}
	for i, m := range tables {
		module := &given{CommonSettings: sites.CommonSettings{Name: fmt.Sprint("s", i)}, address: t.Name() + fmt.Sprint(i), table: m}
		_, s := openSource(t, module, newNode(t))
		serve(s)
		list = append(list, s)
	}
	tables[0].status.ReadOnly = true
	tables[2].write(map[uint32]string{5: host("five.test"), 80: host("eighty.test")})
	receive(list[2], tables[2])
	change := func(id uint32) []SiteChange { return []SiteChange{{Change: adminapi.Change{ID: id}}} }
	for _, c := range []struct {
		named   string
		changes []SiteChange
		want    int
	}{{"s0", nil, 0}, {"", change(5), 2}, {"", change(6), 1}, {"", nil, 1}, {"s1", change(5), 1}} {
		if got, err := list.For(c.named, c.changes); err != nil || got != list[c.want] {
			t.Errorf("%q %v: %v, want s%d", c.named, c.changes, err, c.want)
		}
	}
	if _, err := list.For("sx", nil); err == nil || !strings.Contains(err.Error(), "s0") {
		t.Errorf("a source that is not there: %v", err)
	}
	tables[1].status.ReadOnly, tables[2].status.ReadOnly = true, true
	if got, err := list.For("", nil); err != nil || got != list[0] {
		t.Errorf("none can be written: %v", err)
	}
}

// TestFreeID: a new site comes after all others, whoever has them. Where one has the highest id,
// it gets the lowest that nobody has.
func TestFreeID(t *testing.T) {
	const most = 1<<32 - 1
	for _, c := range []struct {
		served      []uint32 // of the configuration
		mine, other uint32   // a row of the source that it is for, and of the other one
		gone        bool     // the other one is deleted
		want        uint32
	}{
		{want: 1},
		{served: []uint32{7}, mine: 5, want: 8},
		{served: []uint32{7}, mine: 80, want: 81},
		{served: []uint32{1}, mine: most, want: 2},
		{served: []uint32{1, 3, most}, mine: 2, want: 4},
		{served: []uint32{1}, mine: 3, other: 90, want: 91},
		{served: []uint32{1, 4}, mine: 3, other: 90, gone: true, want: 91},
		{served: []uint32{1, 3}, mine: 2, other: most, want: 4},
		{served: []uint32{1, 9}, mine: 2, other: most, gone: true, want: 10},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			var list Sources
			for i, id := range []uint32{c.mine, c.other} {
				m := newMemory()
				module := &given{CommonSettings: sites.CommonSettings{Name: fmt.Sprint("s", i)}, address: t.Name() + fmt.Sprint(i), table: m}
				_, s := openSource(t, module, newNode(t))
				serve(s)
				list = append(list, s)
				if id > 0 {
					m.write(map[uint32]string{id: "{}"})
					receive(s, m)
				}
				if i == 1 && c.gone {
					m.write(map[uint32]string{id: ""})
					receive(s, m)
				}
			}
			var served []binding.Site
			for _, id := range c.served {
				served = append(served, binding.Site{ID: id})
			}
			tables, _, err := binding.Compile(served, nil, binding.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if id := list.FreeID(list[0], tables); id != c.want {
				t.Errorf("got %d", id)
			}
		})
	}
}

// TestUnavailable: what a table says is told with the status that clients act on.
func TestUnavailable(t *testing.T) {
	for err, status := range map[error]int{
		sites.ErrRepeat: http.StatusServiceUnavailable, sites.ErrUnknown: http.StatusGatewayTimeout,
		sites.ErrReadOnly: http.StatusMethodNotAllowed, sites.ErrRejected: http.StatusUnprocessableEntity,
		errors.New("the disk is full"): http.StatusServiceUnavailable,
	} {
		told := Unavailable(fmt.Errorf("it: %w", err))
		refused, ok := errors.AsType[*WriteError](told)
		if !ok || refused.Status != status || errors.Is(told, sites.ErrRepeat) != (err == sites.ErrRepeat) {
			t.Errorf("%v: %+v", err, told)
		}
	}
}
