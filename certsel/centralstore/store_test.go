package centralstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOrder(t *testing.T) {
	m := new(memory)
	for _, name := range []string{
		"a.example.com.pfx", "a.example.com.p12", "a.example.com.pem", "b.example.com.p12", "b.example.com.pem",
		"_.example.com.pfx", "_.com.pfx", "localhost.pfx",
	} {
		m.put(name, "ok "+name)
	}
	m.put("c.example.com.pem", "ok BEGIN PRIVATE KEY-----")
	m.put("c.example.com.key", "not asked for")
	m.put("d.example.com.crt", "ok d")
	m.put("d.example.com.key", "key")
	m.put("e.example.com.crt", "ok e")
	s := open(t, m, Options{})
	expect(t, s, "a.example.com", "ok a.example.com.pfx")
	expect(t, s, "A.EXAMPLE.com", "ok a.example.com.pfx")
	expect(t, s, "b.example.com", "ok b.example.com.p12")
	expect(t, s, "c.example.com", "ok BEGIN PRIVATE KEY-----")
	expect(t, s, "d.example.com", "ok d")
	expect(t, s, "e.example.com", "") // without key; the wildcard does not hide that
	expect(t, s, "x.example.com", "ok _.example.com.pfx")
	expect(t, s, "Y.Example.com", "ok _.example.com.pfx")
	expect(t, s, "x.y.example.com", "") // one label only
	expect(t, s, "example.com", "ok _.com.pfx")
	expect(t, s, "localhost", "ok localhost.pfx")
	expect(t, s, "other", "")
	if n := m.count("c.example.com.key"); n != 0 {
		t.Errorf("a key in the certificate's file was not enough")
	}
	if n := m.count("_.example.com.pfx"); n != 1 {
		t.Errorf("the wildcard was read %d times", n)
	}
	cert, _ := s.Get("d.example.com", time.Now())
	if string(cert.Certificate[1]) != "key" {
		t.Errorf("key %q", cert.Certificate[1])
	}
}

func TestFormats(t *testing.T) {
	m := new(memory)
	m.put("a.pfx", "ok pfx")
	m.put("a.pem", "ok PRIVATE KEY-----")
	s := open(t, m, Options{Formats: []Format{PEM}})
	expect(t, s, "a", "ok PRIVATE KEY-----")
	if formats, err := ParseFormats([]string{"crt", ".pfx"}); err != nil || fmt.Sprint(formats) != "[.crt .pfx]" {
		t.Errorf("%v, %v", formats, err)
	}
	for _, bad := range [][]string{{"jks"}, {"pfx", ".pfx"}, {""}} {
		if _, err := ParseFormats(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestNothingUntilAsked(t *testing.T) {
	m := new(memory)
	for i := range 100_000 {
		m.put(fmt.Sprintf("host%d.example.com.pfx", i), "ok")
	}
	s := open(t, m, Options{Poll: 20 * time.Millisecond})
	time.Sleep(50 * time.Millisecond)
	if n := s.Stats().Accesses; n != 0 {
		t.Errorf("%d accesses before anybody asked", n)
	}
	expect(t, s, "host77.example.com", "ok")
	if st := s.Stats(); st.Decodes != 1 || st.Entries != 1 {
		t.Errorf("%+v", st)
	}
}

func TestHitsAndMissesAreCached(t *testing.T) {
	m := new(memory)
	m.put("a.example.com.pfx", "ok a")
	m.put("broken.example.com.pfx", "x")
	var e events
	s := open(t, m, Options{Report: e.add})
	now := time.Now()
	for range 3 {
		for _, name := range []string{"a.example.com", "none.example.com", "broken.example.com"} {
			s.Get(name, now)
		}
	}
	if n := len(m.asked); n != 1+8+1 {
		t.Errorf("%d accesses: %q", n, m.asked)
	}
	if st := s.Stats(); st.Hits != 3 || st.Misses != 6 || st.Absent != 3 || st.Decodes != 2 {
		t.Errorf("%+v", st)
	}
	if e.count(Failed) != 1 || !strings.Contains(e.String(), "memory/broken.example.com.pfx") {
		t.Errorf("reported %s", &e)
	}
	// Files that have not changed are not decoded again, nor reported.
	if n, ok := s.Get("broken.example.com", now.Add(DefaultMissTTL+time.Second)); ok {
		t.Errorf("got %v", n)
	}
	if st := s.Stats(); st.Decodes != 2 || e.count(Failed) != 1 {
		t.Errorf("%+v, %s", st, &e)
	}
	m.put("none.example.com.pfx", "ok new")
	m.put("broken.example.com.pfx", "ok whole")
	expect(t, s, "none.example.com", "") // not yet
	later := now.Add(DefaultPoll)
	for name, want := range map[string]string{"none.example.com": "ok new", "broken.example.com": "ok whole"} {
		if cert, _ := s.Get(name, later); content(cert) != want {
			t.Errorf("%s: got %q, want %q", name, content(cert), want)
		}
	}
	if e.count(Recovered) != 1 {
		t.Errorf("reported %s", &e)
	}
}

func TestHalfWrittenAtFirst(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.pfx", "hal")
	s := open(t, Folder(dir), Options{})
	expect(t, s, "a", "")
	write(t, dir, "a.pfx", "ok whole")
	eventually(t, "the file is read again soon", func() bool { return get(s, "a") == "ok whole" })
}

func TestHostGetsItsOwnFile(t *testing.T) {
	m := new(memory)
	m.put("_.example.com.pfx", "ok wildcard")
	s := open(t, m, fast(nil))
	expect(t, s, "a.example.com", "ok wildcard")
	m.put("a.example.com.pfx", "ok own")
	eventually(t, "the own file serves", func() bool {
		got := get(s, "a.example.com")
		if got == "" {
			t.Fatal("nothing serves meanwhile")
		}
		return got == "ok own"
	})
}

func TestConcurrentFirstHitsReadOnce(t *testing.T) {
	m := new(memory)
	m.put("a.example.com.pfx", "ok a")
	free := m.hang()
	s := open(t, m, Options{Timeout: 20 * time.Second})
	var (
		group sync.WaitGroup
		hits  atomic.Int32
	)
	for range 200 {
		group.Go(func() {
			if get(s, "a.example.com") == "ok a" {
				hits.Add(1)
			}
		})
	}
	// One of them gives up, which is nobody else's concern.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, ok := s.GetContext(ctx, "a.example.com", time.Now()); ok {
		t.Error("a certificate came from nowhere")
	}
	free()
	group.Wait()
	if st := s.Stats(); hits.Load() != 200 || st.Decodes != 1 || m.count("a.example.com.pfx") != 1 {
		t.Errorf("%d hits, %+v", hits.Load(), st)
	}
}

func TestOneWildcardForManyHosts(t *testing.T) {
	m := new(memory)
	m.put("_.example.com.pfx", "ok wildcard")
	s := open(t, m, Options{})
	var group sync.WaitGroup
	for i := range 300 {
		group.Go(func() { expect(t, s, fmt.Sprintf("h%d.example.com", i), "ok wildcard") })
	}
	group.Wait()
	if st := s.Stats(); st.Entries != 1 || st.Decodes != 1 || m.count("_.example.com.pfx") != 1 {
		t.Errorf("%+v", st)
	}
}

func TestFewDecodeAtATime(t *testing.T) {
	m := new(memory)
	for i := range 40 {
		m.put(fmt.Sprintf("h%d.pfx", i), "ok")
	}
	var running, most atomic.Int32
	s := New(m, func(in Files) (*tls.Certificate, error) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer running.Add(-1)
		time.Sleep(2 * time.Millisecond)
		return decodeText(in)
	}, Options{Decodes: 2, Timeout: 20 * time.Second})
	defer s.Close()
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() { expect(t, s, fmt.Sprintf("h%d", i), "ok") })
	}
	group.Wait()
	if most.Load() > 2 {
		t.Errorf("%d at a time", most.Load())
	}
}

func TestDecoderThatFails(t *testing.T) {
	m := new(memory)
	m.put("panic.pfx", "x")
	m.put("nil.pfx", "x")
	var e events
	s := New(m, func(in Files) (*tls.Certificate, error) {
		if strings.Contains(in.Name, "panic") {
			panic("index out of range")
		}
		return nil, nil
	}, Options{Report: e.add})
	defer s.Close()
	expect(t, s, "panic", "")
	expect(t, s, "nil", "")
	if e.count(Failed) != 2 {
		t.Errorf("reported %s", &e)
	}
}

func TestHangingStore(t *testing.T) {
	m := new(memory)
	m.put("cached.pfx", "ok cached")
	m.put("new.pfx", "ok new")
	var e events
	s := open(t, m, Options{Timeout: 60 * time.Millisecond, MissTTL: 20 * time.Millisecond, Poll: 30 * time.Millisecond, Retry: 20 * time.Millisecond, Settle: time.Millisecond, Report: e.add})
	expect(t, s, "cached", "ok cached")
	free := m.hang()
	defer free()
	start := time.Now()
	expect(t, s, "new", "")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("waited %s", took)
	}
	for i := range 20 { // all workers
		s.Get(fmt.Sprintf("h%d", i), time.Now())
	}
	eventually(t, "calls fail at once", func() bool {
		start := time.Now()
		get(s, fmt.Sprintf("h%d", start.UnixNano()))
		return time.Since(start) < 10*time.Millisecond
	})
	eventually(t, "it is reported", func() bool { return e.count(Unreachable) == 1 })
	if n := s.workers.Running(); n > 8 {
		t.Errorf("%d workers", n)
	}
	expect(t, s, "cached", "ok cached")
	if st := s.Stats(); st.Unreachable.IsZero() || st.LastError == nil || st.Timeouts == 0 {
		t.Errorf("%+v", st)
	}
	free()
	eventually(t, "the store is back", func() bool { return get(s, "new") == "ok new" })
	if e.count(Reachable) == 0 || e.count(Removed) != 0 || e.count(Failed)+e.count(Kept) != 0 {
		t.Errorf("reported %s", &e)
	}
	expect(t, s, "cached", "ok cached")
}

func TestUnreachableStoreDoesNotHideAWildcard(t *testing.T) {
	m := new(memory)
	m.put("_.example.com.pfx", "ok wildcard")
	s := open(t, m, Options{Timeout: 30 * time.Millisecond})
	expect(t, s, "a.example.com", "ok wildcard")
	free := m.hang()
	defer free()
	expect(t, s, "b.example.com", "ok wildcard")
	expect(t, s, "b.example.com", "ok wildcard")
}

func TestFailingStore(t *testing.T) {
	m := new(memory)
	m.put("a.pfx", "ok a")
	var e events
	s := open(t, m, fast(&e))
	expect(t, s, "a", "ok a")
	m.fail(fmt.Errorf("%w: not mounted", ErrStore))
	eventually(t, "it is reported", func() bool { return e.count(Unreachable) == 1 })
	expect(t, s, "a", "ok a")
	expect(t, s, "b", "")
	m.put("a.pfx", "ok again")
	m.fail(nil)
	eventually(t, "the store is back", func() bool { return get(s, "a") == "ok again" })
	if e.count(Reachable) != 1 || len(e.list) != 2 {
		t.Errorf("reported %s", &e)
	}
}

func TestEntriesAreBounded(t *testing.T) {
	m := new(memory)
	for i := range 500 {
		m.put(fmt.Sprintf("h%d.pfx", i), "ok")
	}
	s := open(t, m, Options{Entries: 50, Rate: 1, Burst: 500})
	now := time.Now()
	for i := range 500 {
		s.Get("h0", now.Add(time.Duration(i)*time.Second)) // always in use
		if _, ok := s.Get(fmt.Sprintf("h%d", i), now.Add(time.Duration(i)*time.Second)); !ok {
			t.Fatalf("h%d has no certificate", i)
		}
	}
	if st := s.Stats(); st.Entries != 50 || st.Evicted != 450 {
		t.Errorf("%+v", st)
	}
	if n := m.count("h0.pfx"); n != 1 {
		t.Errorf("the one in use was read %d times", n)
	}
	// What served before is read again however many new names there are.
	s.mu.Lock()
	s.bucket.tokens, s.bucket.last = 0, now.Add(time.Hour)
	s.mu.Unlock()
	for i := range 500 {
		if _, ok := s.Get(fmt.Sprintf("h%d", i), now.Add(time.Hour)); !ok {
			t.Fatalf("h%d is forgotten", i)
		}
	}
}

func TestCheck(t *testing.T) {
	m := new(memory)
	m.put("a.example.com.pfx", "ok a")
	m.put("broken.example.com.crt", "x")
	m.put("_.example.com.pfx", "ok wildcard")
	s := open(t, m, Options{})
	for range 2 {
		if c, err := s.Check(t.Context(), "A.example.com"); err != nil || c.File != "memory/a.example.com.pfx" || c.Wildcard || content(c.Certificate) != "ok a" {
			t.Errorf("%+v, %v", c, err)
		}
		expect(t, s, "a.example.com", "ok a")
	}
	if st := s.Stats(); st.Decodes != 2 {
		t.Errorf("decoded %d times", st.Decodes)
	}
	if c, err := s.Check(t.Context(), "b.example.com"); err != nil || c.File != "memory/_.example.com.pfx" || !c.Wildcard {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := s.Check(t.Context(), "broken.example.com"); err == nil || !strings.Contains(err.Error(), "no private key") || c.File != "memory/broken.example.com.crt" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := s.Check(t.Context(), "a.example.org"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if st := s.Stats(); st.Absent != 0 {
		t.Errorf("%d are remembered as absent", st.Absent)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClosedStore(t *testing.T) {
	m := new(memory)
	m.put("a.pfx", "ok a")
	m.put("b.pfx", "ok b")
	var e events
	s := New(m, decodeText, Options{Report: e.add})
	expect(t, s, "a", "ok a")
	s.Close()
	expect(t, s, "a", "ok a")
	expect(t, s, "b", "")
	if m.count("b.pfx") != 0 || len(e.list) != 0 {
		t.Errorf("a closed store is read, %s", &e)
	}
}

func TestEntries(t *testing.T) {
	m := new(memory)
	m.put("b.pfx", "ok b")
	m.put("a.pem", "ok PRIVATE KEY-----")
	s := open(t, m, Options{})
	get(s, "b")
	get(s, "a")
	list := s.Entries()
	if len(list) != 2 || list[0].File != "memory/a.pem" || list[1].File != "memory/b.pfx" || content(list[1].Certificate) != "ok b" || list[0].Loaded.IsZero() {
		t.Errorf("%+v", list)
	}
}
