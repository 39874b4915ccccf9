package caddyiis

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/sites"
)

// The limits of a request that writes.
const (
	maxWriteBytes   = 16 << 20
	maxWriteChanges = 10_000
)

// serveWrite makes the change that a request asks for, and answers it. Refusals have
// a form of their own.
func serveWrite(w http.ResponseWriter, r *http.Request, path string) error {
	err := answerWrite(w, r, path)
	refused, ok := errors.AsType[*writeError](err)
	if !ok {
		return err
	}
	raw, err := json.Marshal(refused.WriteError)
	if err != nil {
		return err
	}
	switch refused.status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusPreconditionFailed:
		if refused.ETag != "" && refused.Index == nil {
			w.Header().Set("ETag", refused.ETag)
		}
	case http.StatusMethodNotAllowed: // since there is nothing to write
		found, _ := resourceAt(path)
		w.Header().Set("Allow", strings.Join(found.reads(), ", "))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refused.status)
	_, _ = w.Write(append(raw, '\n'))
	return nil
}

func answerWrite(w http.ResponseWriter, r *http.Request, path string) error {
	q := query{r.URL.Query(), path}
	if err := q.only([]string{"source", "dry_run"}); err != nil {
		return err
	}
	dryRun := q.get("dry_run")
	if q.values["dry_run"] != nil && dryRun != "1" {
		return apiError(http.StatusBadRequest, "dry_run: %q is not 1: leave it out for a change", dryRun)
	}
	body, kind, err := readBody(w, r, path)
	if err != nil {
		return err
	}
	write := &siteWrite{by: actor(r), dryRun: dryRun == "1"}
	if write.key = r.Header.Get("Idempotency-Key"); write.key != "" {
		if len(write.key) > maxKeyLength || strings.ContainsFunc(write.key, func(c rune) bool { return c < ' ' || c > '~' }) {
			return apiError(http.StatusBadRequest, "Idempotency-Key: it has up to %d characters of ASCII", maxKeyLength)
		}
		sum := sha256.Sum256(append([]byte(r.Method+" "+r.URL.RequestURI()+"\n"), body...))
		write.hash = hex.EncodeToString(sum[:])
	}
	request := &writeRequest{r: r, path: path, body: body, kind: kind, write: write, named: q.get("source")}
	return request.do(w)
}

// readBody reads what is to be written.
func readBody(w http.ResponseWriter, r *http.Request, path string) (body []byte, kind string, err error) {
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxWriteBytes))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, "", refuseWrite(http.StatusRequestEntityTooLarge, codeInvalid, nil, "the request has more than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, "", err
	}
	if len(body) == 0 {
		return nil, "", nil
	}
	expected := []string{typeJSON, "application/merge-patch+json", "application/x-ndjson"}
	if strings.HasPrefix(path, "certificates/") {
		expected = []string{typeJSON, typePEM, typePFX}
	}
	kind, _, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(expected, kind) {
		return nil, "", refuseWrite(http.StatusUnsupportedMediaType, codeInvalid, nil, "the content type %q is none of %s", r.Header.Get("Content-Type"), strings.Join(expected, ", "))
	}
	return body, kind, nil
}

// actor says who makes a change: a user of the manager page in this process, the
// subject of the client certificate of remote administration, else local, and who the
// caller claims to be.
func actor(r *http.Request) string {
	if user := adminapi.ActorOf(r.Context()); user != "" {
		return printable(user) // no request from outside has a context with one
	}
	by := "local"
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		by = r.TLS.PeerCertificates[0].Subject.String()
	}
	if claims := r.Header.Get("Iis-Actor"); claims != "" {
		if len(claims) > 100 {
			claims = claims[:100]
		}
		by += " claims " + printable(claims)
	}
	return "api/" + by
}

// writeRequest is a request that changes sites.
type writeRequest struct {
	r     *http.Request
	path  string
	body  []byte
	kind  string // its media type
	write *siteWrite
	named string // the source that it names

	one    bool // it is about one site
	giveID bool // whose id is given out

	certificate *certificateWrite // it is about a certificate

	app    *Instance
	source *liveSource
}

// maxKeyLength bounds the Idempotency-Key, which is kept in the log.
const maxKeyLength = 255

// maxRepeats is how often a change is made that others were in the way of.
const maxRepeats = 3

// do makes the change.
func (q *writeRequest) do(w http.ResponseWriter) error {
	if err := q.understand(); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := q.try(w)
		if attempt == maxRepeats || !errors.Is(err, sites.ErrRepeat) {
			return err
		}
	}
}

// try makes the change under the lock of the source.
func (q *writeRequest) try(w http.ResponseWriter) error {
	follower, err := q.lock()
	if err != nil {
		return err
	}
	defer follower.mu.Unlock()
	var writer sites.Writer
	if follower.shared != nil && q.certificate == nil {
		if writer, err = q.app.begin(q.r.Context(), q.source, q.write); err != nil {
			return err
		}
		defer writer.End()
	}
	if q.write.key != "" {
		if done, err := q.repeated(w); done || err != nil {
			return err
		}
	}
	if q.certificate != nil {
		return q.doCertificate(w)
	}
	if err := q.complete(); err != nil {
		return err
	}
	q.write.answer = q.answer
	head, plan, err := q.app.writeSites(q.source, writer, q.write)
	if err != nil {
		return err
	}
	if follower.shared != nil {
		follower.shared.Wake() // what was in the way of others may be gone
	}
	return q.respond(w, head, plan)
}

// lock finds the source of the change and takes its lock. The configuration that owns
// the source makes the change: it may be a newer one than that which is active.
func (q *writeRequest) lock() (*follower, error) {
	app, err := activeApp()
	if err != nil {
		return nil, err
	}
	for range 10 {
		if q.source, err = q.find(app); err != nil {
			return nil, err
		}
		q.app = app
		f := q.source.follower
		f.mu.Lock()
		switch f.owner {
		case app:
			return f, nil
		case nil:
			f.mu.Unlock()
			return nil, refuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration is being replaced: ask again")
		}
		app = f.owner
		f.mu.Unlock()
	}
	return nil, refuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration is being replaced: ask again")
}

// find finds the source that the change is for.
func (q *writeRequest) find(app *Instance) (*liveSource, error) {
	if q.certificate != nil {
		return app.sourceForCertificate(q.named, q.certificate.name)
	}
	return app.sourceFor(q.named, q.write.changes)
}

// sourceFor finds a source: the one that is named, that of the first site that one has,
// or the first.
func (a *Instance) sourceFor(named string, changes []siteChange) (*liveSource, error) {
	var names []string
	var writable []*liveSource
	for _, source := range a.live {
		if source.Name == named {
			return source, nil
		}
		names = append(names, source.Name)
		if f := source.follower; f.shared == nil || !f.shared.Status().ReadOnly {
			writable = append(writable, source)
		}
	}
	switch {
	case named != "" && len(names) > 0:
		return nil, refuseWrite(http.StatusUnprocessableEntity, codeInvalid, nil, "there is no source %q that can be written: %s", named, near.Expected(names))
	case len(names) == 0:
		return nil, refuseWrite(http.StatusMethodNotAllowed, codeConfigured, nil,
			"no source of sites can be written: add sites_from bolt to the iis option, or change sites through /config/apps/iis")
	}
	for _, source := range a.live {
		for i := range changes {
			if _, has := source.follower.revisionOf(changes[i].ID); has {
				return source, nil
			}
		}
	}
	if len(writable) > 0 {
		return writable[0], nil
	}
	return a.live[0], nil
}

// askedSource finds the source that a question is about.
func (a *Instance) askedSource(q query) (*liveSource, error) {
	source, err := a.sourceFor(q.get("source"), nil)
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	return source, nil
}

// understand reads what is to be changed.
func (q *writeRequest) understand() error {
	resource, rest, _ := strings.Cut(q.path, "/")
	switch {
	case resource == "sites" && q.r.Method == http.MethodPost:
		q.one, q.giveID = true, true
		q.write.changes = []siteChange{{Change: adminapi.Change{Op: adminapi.OpPut, Site: q.body}, none: true}}
		return nil
	case resource == "sites":
		return q.understandOne(rest)
	case resource == "certificates":
		return q.understandCertificate(rest)
	case resource == "revisions":
		return q.understandRevert(rest)
	}
	return q.understandMany()
}

func (q *writeRequest) understandOne(name string) error {
	id, err := config.ParseSiteID(name)
	if err != nil {
		return apiError(http.StatusBadRequest, "%v", err)
	}
	c := siteChange{Change: adminapi.Change{ID: id, Site: q.body}}
	c.Op = map[string]string{http.MethodPut: adminapi.OpPut, http.MethodPatch: adminapi.OpPatch, http.MethodDelete: adminapi.OpDelete}[q.r.Method]
	if c.Op == adminapi.OpDelete && q.body != nil {
		return apiError(http.StatusBadRequest, "DELETE takes no body")
	}
	c.none = q.r.Header.Get("If-None-Match") == "*"
	q.one, q.write.changes = true, []siteChange{c}
	return nil
}

// understandMany reads a JSON array of changes, or a change on each line.
func (q *writeRequest) understandMany() error {
	decoder := json.NewDecoder(bytes.NewReader(q.body))
	decoder.DisallowUnknownFields()
	var list []adminapi.Change
	if first, _ := bufio.NewReader(bytes.NewReader(bytes.TrimSpace(q.body))).ReadByte(); first == '[' {
		if err := decoder.Decode(&list); err != nil {
			return refuseWrite(http.StatusUnprocessableEntity, codeInvalid, nil, "%v", jsondoc.Plain(err))
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return refuseWrite(http.StatusUnprocessableEntity, codeInvalid, nil, "there is more than one JSON array")
		}
	} else {
		for len(list) <= maxWriteChanges {
			var c adminapi.Change
			err := decoder.Decode(&c)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return refuseWrite(http.StatusUnprocessableEntity, codeInvalid, nil, "change %d: %v", len(list), jsondoc.Plain(err))
			}
			list = append(list, c)
		}
	}
	if len(list) > maxWriteChanges {
		return refuseWrite(http.StatusRequestEntityTooLarge, codeInvalid, nil, "%d changes at a time are allowed", maxWriteChanges)
	}
	for i, c := range list {
		switch {
		case c.ID == 0:
			return q.wrong(i, &c, `the change has no "id"`)
		case c.Op != adminapi.OpPut && c.Op != adminapi.OpPatch && c.Op != adminapi.OpDelete:
			return q.wrong(i, &c, fmt.Sprintf("%q is no operation: expected one of put, patch, delete", c.Op))
		case c.Op == adminapi.OpDelete && c.Site != nil, c.Op != adminapi.OpDelete && c.Site == nil:
			return q.wrong(i, &c, `put and patch have a "site", and delete has none`)
		}
		none := c.If != nil && *c.If == 0
		q.write.changes = append(q.write.changes, siteChange{Change: c, none: none})
	}
	return nil
}

func (q *writeRequest) wrong(index int, c *adminapi.Change, message string) error {
	e := refuseWrite(http.StatusUnprocessableEntity, codeInvalid, &siteChange{Change: *c}, "%s", message)
	e.Index = &index
	return e
}

// understandRevert makes the changes that take a revision back.
func (q *writeRequest) understandRevert(rest string) error {
	number, action, _ := strings.Cut(rest, "/")
	revision, err := strconv.ParseUint(number, 10, 64)
	if err != nil || action != "revert" {
		return apiError(http.StatusNotFound, "no resource %s: POST /iis/revisions/{revision}/revert takes a revision back", q.path)
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	source, err := app.sourceFor(q.named, q.write.changes)
	if err != nil {
		return err
	}
	list, err := source.follower.Log(revision+1, 1)
	if err != nil {
		return unavailable(err)
	}
	if len(list) == 0 || list[0].Revision != revision {
		return refuseWrite(http.StatusNotFound, codeNotFound, nil, "%s has no revision %d in its log", source.Name, revision)
	}
	q.named = source.Name
	if len(list[0].Changes) > 0 && list[0].Changes[0].Certificate != "" {
		return q.understandRevertedCertificate(source, list[0].Changes)
	}
	for _, c := range list[0].Changes {
		current, _ := source.follower.revisionOf(c.ID)
		change := siteChange{Change: adminapi.Change{Op: adminapi.OpPut, ID: c.ID, Site: c.Before, If: &current}}
		if c.Before == nil {
			change.Op = adminapi.OpDelete
			if current == 0 {
				continue // it is gone already
			}
		}
		change.none = current == 0
		q.write.changes = append(q.write.changes, change)
	}
	return nil
}

// complete fills in what depends on the source: a free id, and the revision that a
// condition names. The lock is held.
func (q *writeRequest) complete() error {
	if q.giveID {
		id, err := q.app.freeID(q.source)
		if err != nil {
			return err
		}
		q.write.changes[0].ID = id
		return nil
	}
	match := q.r.Header.Get("If-Match")
	if !q.one || match == "" {
		return nil
	}
	c := &q.write.changes[0]
	current, there := q.source.follower.revision[c.ID]
	revision := q.source.follower.matched(match, current, there)
	c.If = &revision
	return nil
}

// matched is the revision that an If-Match names for a row: the one it has for an
// asterisk, and one that it does not have if the tag is of another table.
func (f *follower) matched(match string, current uint64, there bool) uint64 {
	if match == "*" && there {
		return current
	}
	source, number, _ := strings.Cut(strings.Trim(match, `"`), ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || source != f.head.Source {
		return current + 1
	}
	return n
}

// freeID returns an id that no site has.
func (a *Instance) freeID(source *liveSource) (uint32, error) {
	var last uint32
	for _, entry := range a.now().tables.Sites() {
		last = max(last, entry.ID)
	}
	for _, other := range a.live {
		if other != source { // whose lock is not ours to wait for
			last = max(last, other.follower.highest.Load())
		}
	}
	for id := range source.follower.revision {
		last = max(last, id)
	}
	if last == 1<<32-1 {
		return 0, refuseWrite(http.StatusConflict, codeConflict, nil, "no id is left after the highest one: name a free one")
	}
	return last + 1, nil
}

// repeated answers a request that was made before, and reports whether it was.
func (q *writeRequest) repeated(w http.ResponseWriter) (bool, error) {
	before, ok, err := q.source.follower.Repeated(q.write.key)
	if err != nil {
		return false, unavailable(err)
	}
	if !ok {
		return false, nil
	}
	if before.Hash != q.write.hash {
		return false, refuseWrite(http.StatusUnprocessableEntity, codeInvalid, nil, "the Idempotency-Key stands for another request")
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(before.Body, '\n'))
	return true, nil
}

// answer tells what was written.
func (q *writeRequest) answer(head sites.Head, plan *writePlan) adminapi.Written {
	answer := adminapi.Written{
		Source: q.source.Name, Revision: revisionOf(head), Mark: head.Mark, Serves: true, DryRun: q.write.dryRun,
	}
	if !q.one {
		for _, r := range plan.results {
			if !r.same {
				answer.Changed = append(answer.Changed, r.id)
			}
		}
		return answer
	}
	result := plan.results[0]
	answer.ID, answer.ETag = result.id, etagOf(head, result.revision)
	if entry := plan.next.tables.SiteByID(result.id); entry != nil && !result.deleted {
		answer.Findings = plan.next.findingsOf(entry)
	}
	return answer
}

func (q *writeRequest) respond(w http.ResponseWriter, head sites.Head, plan *writePlan) error {
	answer := q.answer(head, plan)
	if !q.one || q.write.dryRun {
		return writeJSON(w, answer)
	}
	result := plan.results[0]
	if result.deleted {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("ETag", answer.ETag)
	if result.created {
		w.Header().Set("Location", adminapi.Base+"sites/"+strconv.FormatUint(uint64(result.id), 10)+"?source="+url.QueryEscape(q.source.Name))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
	}
	return writeJSON(w, answer)
}

func revisionOf(head sites.Head) string {
	return head.Source + ":" + strconv.FormatUint(head.Revision, 10)
}

// etagOf is the entity tag of a site.
func etagOf(head sites.Head, revision uint64) string {
	return fmt.Sprintf(`"%s:%d"`, head.Source, revision)
}

// sourcesView shows the sources of sites.
func (sn *snapshot) sourcesView(query) (any, error) {
	list := []adminapi.Source{}
	if sn.app.sitesFile.source != nil {
		file := adminapi.Source{Name: adminapi.SourceSitesFile, Kind: "file"}
		for _, entry := range sn.tables.Sites() {
			if sn.sites[entry.Index].source == file.Name {
				file.Sites++
			}
		}
		list = append(list, file)
	}
	for _, source := range sn.app.live {
		f := source.follower
		head, rows := f.size()
		shown := adminapi.Source{
			Name: source.Name, Kind: strings.TrimPrefix(string(source.module.CaddyModule().ID), sites.Namespace+"."), Writable: true,
			Sites: rows, ID: head.Source, Revision: head.Revision, Mark: head.Mark,
		}
		shown.Certificates = len(f.certificateNames())
		shown.TakesCertificates = f.certificateTable() != nil && source.sealer.Seals()
		source.mu.Lock()
		shown.HeldBack = len(source.held)
		source.mu.Unlock()
		f.addShared(&shown)
		list = append(list, shown)
	}
	return adminapi.Page[adminapi.Source]{Items: list, Total: len(list)}, nil
}

// revisionsView shows the log of a source, the newest revision first.
func (sn *snapshot) revisionsView(q query) (any, error) {
	limit, err := q.limit()
	if err != nil {
		return nil, err
	}
	below := uint64(0)
	if after := q.get("after"); after != "" {
		if below, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, apiError(http.StatusBadRequest, "after: %q is not the next of another page", after)
		}
	}
	source, err := sn.app.askedSource(q)
	if err != nil {
		return nil, err
	}
	list, err := source.follower.Log(below, limit)
	if errors.Is(err, sites.ErrUnavailable) {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i] = list[i].WithoutKeys()
	}
	p := adminapi.Page[sites.Revision]{Items: list, Total: len(list)}
	if len(list) == limit {
		p.Next = strconv.FormatUint(list[len(list)-1].Revision, 10)
	}
	return p, nil
}

// addDocument adds to a site what its source keeps of it.
func (sn *snapshot) addDocument(s *adminapi.Site) error {
	for _, source := range sn.app.live {
		if source.Name != s.Source {
			continue
		}
		row, ok, err := source.follower.Row(s.ID)
		if err != nil {
			return err
		}
		head, err := source.follower.Head()
		if ok && err == nil {
			s.Document, s.Revision, s.ETag = row.Document, row.Revision, etagOf(head, row.Revision)
			s.Open = row.Open
			if row.Refusal != nil {
				s.Refusal = showRefusal(row.Refusal)
			}
		}
		return err
	}
	return nil
}

// heldSite shows a row that is not served, if there is one.
func (sn *snapshot) heldSite(id uint32) (*adminapi.Site, bool) {
	if held, source := sn.app.heldRow(id); source != nil {
		return &adminapi.Site{ID: id, Name: held.name, Source: source.Name, State: adminapi.StateHeldBack, Reason: held.reason}, true
	}
	for _, source := range sn.app.live {
		if row, ok, err := source.follower.Row(id); ok && err == nil && row.Open {
			s := &adminapi.Site{ID: id, Source: source.Name, State: adminapi.StateOpen, Reason: "nobody has judged it yet"}
			if row.Refusal != nil {
				s.State, s.Reason = adminapi.StateRefused, row.Refusal.Message
			}
			return s, true
		}
	}
	return nil, false
}
