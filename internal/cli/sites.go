package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

// ExportSites writes what is accepted of the sites of a source as lines of a sites file, and
// says beside them what is not.
func ExportSites(ctx context.Context, e *Env, store SiteStore, source string, to Output) error {
	if err := to.Write(e, func(w io.Writer) error { return store.Export(ctx, source, w) }); err != nil {
		return err
	}
	if client, running := store.(*adminapi.Client); running {
		return e.notExported(ctx, client, source)
	}
	return nil // nobody else writes a file
}

// BackupSites copies the file of a source with all that is in it: private keys, so that it is
// written to a file, which nobody else can read.
func BackupSites(ctx context.Context, e *Env, store SiteStore, source string, to Output) error {
	if err := refuseInUse(to.File); err != nil {
		return err
	}
	return to.Write(e, func(w io.Writer) error { return store.Backup(ctx, source, w) })
}

// refuseInUse refuses to put a copy in the place of a file that a Caddy has open: it would go on
// with the one before, which nobody sees any more.
func refuseInUse(name string) error {
	file, err := OpenSitesFile(name, false)
	if errors.Is(err, sites.ErrInUse) {
		return fmt.Errorf("%s: %w: stop Caddy, or name another file", name, sites.ErrInUse)
	}
	if err != nil {
		return nil //nolint:nilerr // there is none, or what is there is replaced
	}
	return file.Close()
}

// notExported names the sites whose newest documents are not accepted, of a source or, if
// the server has chosen it, of all.
func (e *Env) notExported(ctx context.Context, client *adminapi.Client, source string) error {
	filters := []string{"refused", "1"}
	if source != "" {
		filters = append(filters, "source", source)
	}
	for site, err := range client.Sites(ctx, filters...) {
		if err != nil {
			return err
		}
		what := "it is not exported"
		if site.Accepted != nil {
			what = "what it was before is exported"
		}
		e.hint("site %d of %s is refused, and %s: %s", site.ID, site.Source, what, site.Refusal.Message)
	}
	list, err := client.Sources(ctx)
	for i := range list {
		if s := &list[i]; s.Open > 0 && (source == "" || source == s.Name) {
			e.hint("%d sites of %s wait for a verdict: what they were before is exported", s.Open, s.Name)
		}
	}
	return err
}

// importStep is how many sites of a file are one transaction.
const importStep = 10_000

// ImportSites puts the lines of a sites file into a source, in steps of which each is
// whole. What is there already is no change, so that a repeat goes on where one before
// has ended.
func ImportSites(ctx context.Context, e *Env, store SiteStore, source string, lines io.Reader) error {
	var batch []adminapi.Change
	sites, changed, number := 0, 0, 0
	into := importTarget{store: store, client: e.Client, source: source}
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		written, err := into.change(ctx, batch)
		if err != nil {
			return fmt.Errorf("lines %d to %d are not imported, %d sites before them are: %w", number-len(batch)+1, number, sites, err)
		}
		sites, changed, batch = sites+len(batch), changed+len(written.Changed), batch[:0]
		return nil
	}
	reader := bufio.NewReader(lines)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			number++
			c, lineErr := lineChange(line)
			if lineErr != nil {
				return fmt.Errorf("line %d: %w (%d sites before it are imported)", number, lineErr, sites)
			}
			if batch = append(batch, c); len(batch) == importStep {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err != nil {
			break
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if e.JSON {
		return e.json(map[string]int{"sites": sites, "changed": changed})
	}
	e.printf("%d sites, of which %d were new or different\n", sites, changed)
	return nil
}

// importTarget is the source that an import writes.
type importTarget struct {
	store  SiteStore
	client *adminapi.Client  // of a server, which can ask for conditions
	source string            // empty: the server chooses it
	tags   map[uint32]string // ETags of its sites when the import began; nil: it does not ask for them
}

// change makes changes. Where they must say what they are about, that is what was there when
// the import began: what others change meanwhile is not replaced.
func (t *importTarget) change(ctx context.Context, batch []adminapi.Change) (adminapi.Written, error) {
	t.condition(batch)
	written, err := t.store.ChangeSites(ctx, t.source, batch)
	if t.tags != nil || !adminapi.WantsCondition(err) {
		return written, err
	}
	if err := t.readTags(ctx); err != nil {
		return written, err
	}
	t.condition(batch)
	return t.store.ChangeSites(ctx, t.source, batch)
}

func (t *importTarget) condition(batch []adminapi.Change) {
	if t.tags == nil {
		return
	}
	for i := range batch {
		if tag, there := t.tags[batch[i].ID]; there {
			batch[i].IfMatch = &tag
		} else {
			batch[i].If = new(uint64) // it must not be there
		}
	}
}

// readTags reads the ETags of the source or, if the server chooses it, of all.
func (t *importTarget) readTags(ctx context.Context) error {
	names := []string{t.source}
	if t.source == "" {
		writable, err := t.client.WritableSources(ctx)
		if err != nil {
			return err
		}
		names = names[:0]
		for i := range writable {
			names = append(names, writable[i].Name)
		}
	}
	t.tags = make(map[uint32]string)
	for _, name := range names {
		tags, err := t.client.SiteETags(ctx, name)
		if err != nil {
			return err
		}
		maps.Copy(t.tags, tags)
	}
	return nil
}

// lineChange is the change that a line of a sites file stands for. What the site says is
// passed on as it is written, also a field that is there twice: that is for who judges it.
func lineChange(line []byte) (adminapi.Change, error) {
	wrong := func(err error) (adminapi.Change, error) {
		return adminapi.Change{}, fmt.Errorf("it is no JSON object: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	if token, err := decoder.Token(); err != nil {
		return wrong(err)
	} else if token != json.Delim('{') {
		return adminapi.Change{}, errors.New("it is no JSON object")
	}
	var ids [][]byte
	site := []byte("{")
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return wrong(err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return wrong(err)
		}
		if token == "id" {
			ids = append(ids, value)
			continue
		}
		if len(site) > 1 {
			site = append(site, ',')
		}
		name, _ := json.Marshal(token) // a string always can
		site = append(append(append(site, name...), ':'), value...)
	}
	if _, err := decoder.Token(); err != nil {
		return wrong(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return adminapi.Change{}, errors.New("there is more on it than one JSON object")
	}
	if len(ids) > 1 {
		return adminapi.Change{}, errors.New(`"id" is there twice`)
	}
	id, err := strconv.ParseUint(string(slices.Concat(ids...)), 10, 32)
	if err != nil || id == 0 {
		return adminapi.Change{}, errors.New(`it has no "id" from 1 to 4294967295`)
	}
	return adminapi.Change{Op: adminapi.OpPut, ID: uint32(id), Site: append(site, '}')}, nil
}

// LogSites shows what was written to a source, the newest revision first.
func LogSites(ctx context.Context, e *Env, store SiteStore, source string, limit int) error {
	raw, err := store.Revisions(ctx, source, "", limit)
	if err != nil {
		return err
	}
	var page adminapi.Page[adminapi.Revision]
	if err := json.Unmarshal(raw, &page); err != nil {
		return err
	}
	if e.JSON {
		return e.json(list(page.Items))
	}
	t := table{heads: []string{"REVISION", "WHEN", "WHO", "WHAT"}, flex: []int{2, 3}}
	for _, rev := range page.Items {
		t.add(text(strconv.FormatUint(rev.Revision, 10)), text(rev.At.Local().Format(time.DateTime)), text(rev.By), text(whatChanged(rev.Changes)))
	}
	return e.write(&t)
}

// whatChanged says what a revision did.
func whatChanged(changes []adminapi.Logged) string {
	const most = 3
	list := ""
	for i, c := range changes {
		if i == most {
			return list + fmt.Sprintf(" and %d more", len(changes)-most)
		}
		if list != "" {
			list += ", "
		}
		what := strconv.FormatUint(uint64(c.ID), 10)
		if c.Certificate != "" {
			what = "certificate " + c.Certificate
		}
		list += c.Kind() + " " + what
	}
	return list
}

// RevertSites takes a revision back.
func RevertSites(ctx context.Context, e *Env, store SiteStore, source string, revision uint64) error {
	written, err := store.Revert(ctx, source, revision)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(written)
	}
	e.printf("revision %d is taken back: %d sites are as they were before it\n", revision, len(written.Changed))
	return nil
}

// AcceptSource takes a source as it is that has lost many sites.
func AcceptSource(ctx context.Context, e *Env, source string) error {
	if source == "" {
		writable, err := e.Client.WritableSources(ctx)
		if err != nil {
			return err
		}
		if len(writable) != 1 {
			return fmt.Errorf("there are %d sources: name one with --source", len(writable))
		}
		source = writable[0].Name
	}
	accepted, err := e.Client.Accept(ctx, source)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(accepted)
	}
	if accepted.Removed == 0 {
		e.printf("%s is served as it is: there was nothing to accept\n", source)
		return nil
	}
	e.printf("%s is served as it is: %d sites are gone\n", source, accepted.Removed)
	return nil
}

// InitDatabase makes the schema of a database, or prints it.
func InitDatabase(ctx context.Context, e *Env, connection string, show bool) error {
	if show {
		e.printf("%s", postgres.Schema())
		return nil
	}
	made, err := postgres.Init(ctx, connection)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(made)
	}
	if made.Schema {
		e.printf("the schema iis is made\n")
	} else {
		e.printf("the schema iis is there, and is that of this version\n")
	}
	if made.Roles != "" {
		e.hint("This role may not make roles. Have somebody who may do this, or grant the rights to roles of your own:\n\n%s", made.Roles)
	}
	return nil
}

// kept says where a change of a site is kept.
func (e *Env) kept(site adminapi.Site) {
	if site.Source == "" {
		e.hint("It is kept in the running configuration: caddy reload with the Caddyfile takes it back, caddy run --resume does not.")
		return
	}
	e.hint("It is kept in %s.", site.Source)
}
