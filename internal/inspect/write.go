package inspect

import (
	"bufio"
	"bytes"
	"context"
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
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/serve"
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
	refused, ok := errors.AsType[*live.WriteError](err)
	if !ok {
		return err
	}
	raw, err := json.Marshal(refused.WriteError)
	if err != nil {
		return err
	}
	switch refused.Status {
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
	w.WriteHeader(refused.Status)
	_, _ = w.Write(append(raw, '\n'))
	return nil
}

func answerWrite(w http.ResponseWriter, r *http.Request, path string) error {
	q, err := parseQuery(r, path, []string{"source", "dry_run", "wait"})
	if err != nil {
		return err
	}
	wait, err := q.wait()
	if err != nil {
		return err
	}
	dryRun, err := q.flag("dry_run", "a change")
	if err != nil {
		return err
	}
	body, kind, err := readBody(w, r, path)
	if err != nil {
		return err
	}
	write := &live.SiteWrite{By: actor(r), DryRun: dryRun}
	if write.Key = r.Header.Get("Idempotency-Key"); write.Key != "" {
		if len(write.Key) > maxKeyLength || strings.ContainsFunc(write.Key, func(c rune) bool { return c < ' ' || c > '~' }) {
			return apiError(http.StatusBadRequest, "Idempotency-Key: it has up to %d characters of ASCII", maxKeyLength)
		}
		sum := sha256.Sum256(append([]byte(r.Method+" "+askedFor(r.URL)+"\n"), body...))
		write.Hash = hex.EncodeToString(sum[:])
	}
	request := &writeRequest{r: r, path: path, body: body, kind: kind, write: write, named: q.get("source"), wait: wait}
	return request.do(w)
}

// askedFor is what a request asks for, however long it waits for it.
func askedFor(u *url.URL) string {
	query := u.Query()
	if !query.Has("wait") {
		return u.RequestURI()
	}
	query.Del("wait")
	without := *u
	without.RawQuery = query.Encode()
	return without.RequestURI()
}

// readBody reads what is to be written.
func readBody(w http.ResponseWriter, r *http.Request, path string) (body []byte, kind string, err error) {
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxWriteBytes))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, "", live.RefuseWrite(http.StatusRequestEntityTooLarge, live.CodeInvalid, nil, "the request has more than %d bytes", tooLarge.Limit)
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
		return nil, "", live.RefuseWrite(http.StatusUnsupportedMediaType, live.CodeInvalid, nil, "the content type %q is none of %s", r.Header.Get("Content-Type"), strings.Join(expected, ", "))
	}
	return body, kind, nil
}

// actor says who makes a change: a user of the manager page in this process, the
// subject of the client certificate of remote administration, else local, and who the
// caller claims to be.
func actor(r *http.Request) string {
	if user := adminapi.ActorOf(r.Context()); user != "" {
		return serve.Printable(user) // no request from outside has a context with one
	}
	by := "local"
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		by = r.TLS.PeerCertificates[0].Subject.String()
	}
	if claims := r.Header.Get("Iis-Actor"); claims != "" {
		if len(claims) > 100 {
			claims = claims[:100]
		}
		by += " claims " + serve.Printable(claims)
	}
	return "api/" + by
}

// writeRequest is a request that changes sites.
type writeRequest struct {
	r     *http.Request
	path  string
	body  []byte
	kind  string // its media type
	write *live.SiteWrite
	named string        // the source that it names
	wait  time.Duration // for a change that is kept to be served

	one    bool // it is about one site
	giveID bool // whose id is given out

	certificate *live.CertificateWrite // it is about a certificate

	app    *serve.Instance
	source *live.Source
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
		answer, err := q.try()
		if err == nil {
			q.awaitService(&answer)
			return q.respond(w, answer)
		}
		if attempt == maxRepeats || !errors.Is(err, sites.ErrRepeat) {
			return err
		}
	}
}

// try makes the change under the lock of the source.
func (q *writeRequest) try() (answer adminapi.Written, err error) {
	app, err := activeApp()
	if err != nil {
		return answer, err
	}
	if q.certificate == nil {
		if source, err := q.find(app); err == nil {
			defer app.ProvisionAhead(source, q.write.Changes)()
		}
	}
	if q.app, q.source, err = app.Claim(q.r.Context(), q.find); err != nil {
		return answer, err
	}
	defer q.source.Unlock()
	follower := q.source.Follower
	var writer sites.Writer
	if follower.Shared != nil && q.certificate == nil {
		if writer, err = q.source.Begin(q.r.Context(), q.write); err != nil {
			return answer, err
		}
		defer writer.End()
	}
	if q.write.Key != "" {
		answer, done, err := q.repeated()
		if done {
			err = q.confirm(writer)
		}
		if done || err != nil {
			return answer, err
		}
	}
	if q.certificate != nil {
		return q.doCertificate()
	}
	q.complete()
	head, plan, err := q.app.WriteSites(q.source, writer, q.write, q.answer)
	if isGone(err) || err == nil && len(plan.Rows) == 0 { // as who repeats a request wants to hear
		if err := q.confirm(writer); err != nil {
			return answer, err
		}
	}
	if err != nil {
		return answer, err
	}
	if follower.Shared != nil {
		follower.Shared.Wake() // what was in the way of others may be gone
	}
	return q.answer(head, plan), nil
}

// awaitService waits for what is kept and not served: what is in the way may go. A load
// does not wait for it.
func (q *writeRequest) awaitService(answer *adminapi.Written) {
	if answer.Serves || answer.DryRun {
		return
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), q.wait)
	defer cancel()
	answer.Serves = q.app.AwaitRows(ctx, q.source, q.rowsOf(answer))
	answer.Findings = q.findings(q.app.Now(), answer)
}

// rowsOf are the rows that the answer is about.
func (q *writeRequest) rowsOf(answer *adminapi.Written) []uint32 {
	if q.one {
		return []uint32{answer.ID}
	}
	ids := make([]uint32, len(q.write.Changes))
	for i := range q.write.Changes {
		ids[i] = q.write.Changes[i].ID
	}
	return ids
}

// find finds the source that the change is for.
func (q *writeRequest) find(app *serve.Instance) (*live.Source, error) {
	if q.certificate != nil {
		return app.Live.ForCertificate(q.named, q.certificate.Name)
	}
	return app.Live.For(q.named, q.write.Changes)
}

// askedSource finds the source that a question is about.
func askedSource(a *serve.Instance, q query) (*live.Source, error) {
	source, err := a.Live.For(q.get("source"), nil)
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
		q.write.Changes = []live.SiteChange{{Change: adminapi.Change{Op: adminapi.OpPut, Site: q.body}, None: true}}
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
	c := live.SiteChange{Change: adminapi.Change{ID: id, Site: q.body}}
	c.Op = map[string]string{http.MethodPut: adminapi.OpPut, http.MethodPatch: adminapi.OpPatch, http.MethodDelete: adminapi.OpDelete}[q.r.Method]
	if c.Op == adminapi.OpDelete && q.body != nil {
		return apiError(http.StatusBadRequest, "DELETE takes no body")
	}
	c.IfMatch = ifMatch(q.r)
	if c.None, err = ifNone(q.r); err != nil {
		return err
	}
	q.one, q.write.Changes = true, []live.SiteChange{c}
	return nil
}

// ifNone reports whether a request is only about what is not there.
func ifNone(r *http.Request) (bool, error) {
	values, there := r.Header["If-None-Match"]
	if there && (len(values) != 1 || values[0] != "*") {
		return false, apiError(http.StatusBadRequest, "If-None-Match: %q is not *: leave it out, or send If-Match", strings.Join(values, ", "))
	}
	return there, nil
}

// ifMatch is the tag that a request asks for, nil if it does not. An empty one is a tag that
// nothing has.
func ifMatch(r *http.Request) *string {
	values, there := r.Header["If-Match"]
	if !there {
		return nil
	}
	tag := strings.Join(values, ", ")
	return &tag
}

// understandMany reads a JSON array of changes, or a change on each line.
func (q *writeRequest) understandMany() error {
	decoder := json.NewDecoder(bytes.NewReader(q.body))
	decoder.DisallowUnknownFields()
	var list []adminapi.Change
	if first, _ := bufio.NewReader(bytes.NewReader(bytes.TrimSpace(q.body))).ReadByte(); first == '[' {
		if err := decoder.Decode(&list); err != nil {
			return live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, nil, "%v", jsondoc.Plain(err))
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, nil, "there is more than one JSON array")
		}
	} else {
		for len(list) <= maxWriteChanges {
			var c adminapi.Change
			err := decoder.Decode(&c)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, nil, "change %d: %v", len(list), jsondoc.Plain(err))
			}
			list = append(list, c)
		}
	}
	if len(list) > maxWriteChanges {
		return live.RefuseWrite(http.StatusRequestEntityTooLarge, live.CodeInvalid, nil, "%d changes at a time are allowed", maxWriteChanges)
	}
	if err := jsondoc.CheckNames(q.body, "site"); err != nil { // that is read when it is merged or written
		return live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, nil, "%v", err)
	}
	for i, c := range list {
		switch {
		case c.ID == 0:
			return q.wrong(i, &c, `the change has no "id"`)
		case c.Op != adminapi.OpPut && c.Op != adminapi.OpPatch && c.Op != adminapi.OpDelete:
			return q.wrong(i, &c, fmt.Sprintf("%q is no operation: expected one of put, patch, delete", c.Op))
		case c.If != nil && c.IfMatch != nil:
			return q.wrong(i, &c, `"if" excludes "if_match"`)
		case c.Op == adminapi.OpDelete && c.Site != nil, c.Op != adminapi.OpDelete && c.Site == nil:
			return q.wrong(i, &c, `put and patch have a "site", and delete has none`)
		}
		none := c.If != nil && *c.If == 0
		q.write.Changes = append(q.write.Changes, live.SiteChange{Change: c, None: none})
	}
	return nil
}

func (q *writeRequest) wrong(index int, c *adminapi.Change, message string) error {
	e := live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, &live.SiteChange{Change: *c}, "%s", message)
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
	source, err := app.Live.For(q.named, q.write.Changes)
	if err != nil {
		return err
	}
	if err := source.Reachable(); err != nil {
		return err
	}
	list, err := source.Follower.Log(revision+1, 1)
	if err != nil {
		return live.Unavailable(err)
	}
	if len(list) == 0 || list[0].Revision != revision {
		return live.RefuseWrite(http.StatusNotFound, live.CodeNotFound, nil, "%s has no revision %d in its log", source.Name, revision)
	}
	q.named = source.Name
	if len(list[0].Changes) > 0 && list[0].Changes[0].Certificate != "" {
		return q.understandRevertedCertificate(source, list[0].Changes)
	}
	head, err := source.Follower.Head()
	if err != nil {
		return live.Unavailable(err)
	}
	for _, c := range list[0].Changes {
		row, there, err := source.Follower.Row(c.ID)
		if err != nil {
			return live.Unavailable(err)
		}
		change := live.SiteChange{Change: adminapi.Change{Op: adminapi.OpPut, ID: c.ID, Site: c.Before}, None: !there}
		if there {
			etag := live.EtagOf(head, row.Revision, row.Document)
			change.IfMatch = &etag
		}
		if c.Before == nil {
			change.Op = adminapi.OpDelete
			if !there {
				continue // it is gone already
			}
		}
		q.write.Changes = append(q.write.Changes, change)
	}
	return nil
}

// complete gives out a free id, if that is asked for. The lock of the source is held.
func (q *writeRequest) complete() {
	if q.giveID {
		q.write.Changes[0].ID = q.app.Live.FreeID(q.source, q.app.Now().Tables)
	}
}

// repeated returns the answer to a request that was made before, and whether it was.
func (q *writeRequest) repeated() (answer adminapi.Written, done bool, err error) {
	before, ok, err := q.source.Follower.Repeated(q.write.Key)
	if err != nil {
		return answer, false, live.Unavailable(err)
	}
	if !ok {
		return answer, false, nil
	}
	if before.Hash != q.write.Hash {
		return answer, false, live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, nil, "the Idempotency-Key stands for another request")
	}
	if err := json.Unmarshal(before.Body, &answer); err != nil {
		return answer, false, fmt.Errorf("the answer that is kept with the Idempotency-Key: %w", err)
	}
	if q.giveID {
		answer.Created = true // also where an older version has kept the answer
	}
	if q.certificate == nil && q.r.Method != http.MethodDelete {
		answer.Serves = q.app.ServesRows(q.source, q.rowsOf(&answer))
	}
	return answer, true, nil
}

// answer tells what was written.
func (q *writeRequest) answer(head sites.Head, plan *serve.WritePlan) adminapi.Written {
	answer := adminapi.Written{
		Source: q.source.Name, Revision: live.RevisionOf(head), Mark: head.Mark, Serves: true, DryRun: q.write.DryRun,
	}
	for _, r := range plan.Results {
		_, held := q.source.HeldFinding(r.ID) // and what serves is the document before
		answer.Serves = answer.Serves && (r.Deleted || plan.Next.ServesRow(q.source, r.ID) && (!r.Same || !held))
		if !q.one && !r.Same {
			answer.Changed = append(answer.Changed, r.ID)
		}
	}
	if q.one {
		result := plan.Results[0]
		answer.ID, answer.Created = result.ID, result.Created
		if !result.Deleted {
			answer.ETag = live.EtagOf(head, result.Revision, result.Document)
		}
	}
	answer.Findings = append(q.findings(plan.Next, &answer), showAll(plan.Losses())...)
	return answer
}

// findings are those about the site that is written, if it is one.
func (q *writeRequest) findings(now *serve.Snapshot, answer *adminapi.Written) []adminapi.Finding {
	if !q.one {
		return answer.Findings
	}
	if q.r.Method == http.MethodDelete {
		return nil
	}
	entry := now.Tables.SiteByID(answer.ID)
	if held, ok := q.source.HeldFinding(answer.ID); ok && (entry == nil || !answer.Serves) {
		return []adminapi.Finding{showFinding(held)}
	}
	if entry == nil {
		return nil
	}
	return newView(q.app, now).findingsOf(entry)
}

// respond writes an answer. A repeated request gets the one of the first.
func (q *writeRequest) respond(w http.ResponseWriter, answer adminapi.Written) error {
	status := http.StatusOK
	switch {
	case answer.DryRun:
		return writeJSON(w, answer)
	case q.r.Method == http.MethodDelete && len(answer.Findings) == 0:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case !answer.Serves:
		status = http.StatusAccepted
	case answer.Created:
		status = http.StatusCreated
	}
	if answer.ETag != "" {
		w.Header().Set("ETag", answer.ETag)
	}
	switch {
	case answer.Created && answer.Certificate != "":
		w.Header().Set("Location", adminapi.Base+"certificates/"+url.PathEscape(answer.Certificate))
	case answer.Created:
		w.Header().Set("Location", adminapi.Base+"sites/"+strconv.FormatUint(uint64(answer.ID), 10)+"?source="+url.QueryEscape(answer.Source))
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	return writeJSON(w, answer)
}

// sourcesView shows the sources of sites.
func (sn view) sourcesView(query) (any, error) {
	list := []adminapi.Source{}
	if sn.App.HasSitesFile() {
		file := adminapi.Source{Name: adminapi.SourceSitesFile, Kind: "file"}
		for _, entry := range sn.Tables.Sites() {
			if sn.Sites.At(entry.Index).Source == file.Name {
				file.Sites++
			}
		}
		list = append(list, file)
	}
	for _, source := range sn.App.Live {
		shown := source.Describe()
		shown.HeldBack = sn.HeldCount(source)
		list = append(list, shown)
	}
	return adminapi.Page[adminapi.Source]{Items: list, Total: len(list)}, nil
}

// notNow gives what a source cannot tell at this moment the status for it.
func notNow(err error) error {
	if errors.Is(err, sites.ErrUnavailable) {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	return err
}

// revisionsView shows the log of a source, the newest revision first.
func (sn view) revisionsView(q query) (any, error) {
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
	source, err := askedSource(sn.App, q)
	if err != nil {
		return nil, err
	}
	list, err := source.Follower.Log(below, limit)
	if err != nil {
		return nil, notNow(err)
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
func (sn view) addDocument(s *adminapi.Site) error {
	for _, source := range sn.App.Live {
		if source.Name != s.Source {
			continue
		}
		row, ok, err := source.Follower.Row(s.ID)
		if err != nil {
			return err
		}
		head, err := source.Follower.Head()
		if ok && err == nil {
			s.Document, s.Revision, s.ETag = row.Document, row.Revision, live.EtagOf(head, row.Revision, row.Document)
			s.Open = row.Open
			if row.Refusal != nil {
				s.Refusal = showRefusal(row.Refusal)
			}
		}
		return err
	}
	return nil
}
