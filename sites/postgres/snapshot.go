package postgres

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
	"github.com/caddy-iis/caddy-iis/sites"
)

// snapshotFormat is the version of the local copy.
const snapshotFormat = 1

const (
	saveSoon   = time.Second      // after a change
	saveSeldom = 10 * time.Second // between two copies
	saveShare  = 20               // or so many times what the last one took
)

// snapshotHeader is the first line of a local copy.
type snapshotHeader struct {
	Format   int       `json:"format"`
	Source   string    `json:"source"`
	Revision uint64    `json:"rev"`
	Mark     string    `json:"mark"`
	Rows     int       `json:"rows"`
	At       time.Time `json:"at"`
}

// snapshotRow is a line for a row.
type snapshotRow struct {
	ID       uint32          `json:"id"`
	Revision uint64          `json:"rev"`
	Accepted bool            `json:"ok"`
	Document json.RawMessage `json:"doc"`
	Good     json.RawMessage `json:"good,omitempty"`
	Refusal  *sites.Refusal  `json:"refusal,omitempty"`
}

// snapshotSum is the last line: the checksum of all before.
type snapshotSum struct {
	SHA256 string `json:"sha256"`
}

// snapshotPath is the local copy of a database. Two processes that share the folder
// share it: each complete file is good.
func snapshotPath(folder, place string) string {
	sum := sha256.Sum256([]byte(place + " iis"))
	return filepath.Join(folder, hex.EncodeToString(sum[:16])+".jsonl")
}

// keepSnapshot writes the local copy after changes, until the table is closed.
func (t *table) keepSnapshot() {
	defer close(t.saver)
	var next time.Time // before which there is no other copy
	for {
		select {
		case <-t.dirty:
		case <-t.closing:
			t.save()
			return
		}
		wait := time.NewTimer(max(saveSoon, time.Until(next)))
		select {
		case <-wait.C:
		case <-t.closing:
			wait.Stop()
			t.save()
			return
		}
		start := time.Now()
		t.save()
		next = time.Now().Add(max(saveSeldom, saveShare*time.Since(start)))
	}
}

// changed asks for a local copy.
func (t *table) changed() {
	select {
	case t.dirty <- struct{}{}:
	default:
	}
}

// save writes the local copy, if it is not as the state is.
func (t *table) save() {
	t.mu.RLock()
	head, overwrite, last := t.head, t.moved, t.lastSaved
	rows := make([]sites.Row, 0, len(t.rows))
	if head.Source != "" && head != last {
		for _, row := range t.rows {
			rows = append(rows, row)
		}
	}
	t.mu.RUnlock()
	if head.Source == "" || head == last {
		return
	}
	slices.SortFunc(rows, byID)
	header := snapshotHeader{snapshotFormat, head.Source, head.Revision, head.Mark, len(rows), time.Now().UTC()}
	err := saveSnapshot(t.path, header, rows, overwrite)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.status.SnapshotError = err.Error()
		return
	}
	t.status.SnapshotError = ""
	t.lastSaved, t.saved = head, header.At
	if t.head == head {
		t.moved = false
	}
}

// saveSnapshot writes a local copy in place of one before, whole or not at all. A newer
// one of the same table stays, unless the table has another past now.
func saveSnapshot(path string, header snapshotHeader, rows []sites.Row, overwrite bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if there, err := readHeader(path); err == nil && !overwrite && there.Source == header.Source && there.Revision > header.Revision {
		return nil
	}
	removeAbandoned(path)
	return wholefile.Replace(path, func(to io.Writer) error { return writeSnapshot(to, header, rows) })
}

// abandonedAfter is when nobody writes any more what was begun as a local copy.
const abandonedAfter = time.Hour

// removeAbandoned removes what processes have left that were killed while they wrote a
// local copy.
func removeAbandoned(path string) {
	begun, _ := filepath.Glob(path + ".*") // a folder with such a name keeps them
	for _, name := range begun {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > abandonedAfter {
			_ = os.Remove(name)
		}
	}
}

func writeSnapshot(to io.Writer, header snapshotHeader, rows []sites.Row) error {
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<16)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(header); err != nil {
		return err
	}
	for i := range rows {
		row := &rows[i]
		if err := encoder.Encode(snapshotRow{row.ID, row.Revision, !row.Open, row.Document, row.Good, row.Refusal}); err != nil {
			return err
		}
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(to).Encode(snapshotSum{hex.EncodeToString(sum.Sum(nil))})
}

func readHeader(path string) (header snapshotHeader, err error) {
	file, err := os.Open(path)
	if err != nil {
		return header, err
	}
	defer file.Close()
	line, err := bufio.NewReader(io.LimitReader(file, 4096)).ReadBytes('\n')
	if err != nil {
		return header, err
	}
	return header, json.Unmarshal(line, &header)
}

// errSnapshot is in the error of a local copy that is not used.
var errSnapshot = errors.New("the local copy of the sites is not used")

// readSnapshot reads a local copy, whole or not at all.
func readSnapshot(path string) (header snapshotHeader, rows map[uint32]sites.Row, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return header, nil, err
	}
	body := bytes.TrimSuffix(raw, []byte("\n"))
	cut := bytes.LastIndexByte(body, '\n') + 1
	var want snapshotSum
	got := sha256.Sum256(body[:cut])
	if json.Unmarshal(body[cut:], &want) != nil || want.SHA256 != hex.EncodeToString(got[:]) {
		return header, nil, fmt.Errorf("%w: %s is damaged", errSnapshot, path)
	}
	decoder := json.NewDecoder(bytes.NewReader(body[:cut]))
	if err := decoder.Decode(&header); err != nil {
		return header, nil, fmt.Errorf("%w: %s: %w", errSnapshot, path, err)
	}
	if header.Format != snapshotFormat || header.Source == "" {
		return header, nil, fmt.Errorf("%w: %s has format %d, and this version knows %d", errSnapshot, path, header.Format, snapshotFormat)
	}
	rows = make(map[uint32]sites.Row, min(header.Rows, len(body)/20))
	for decoder.More() {
		var line snapshotRow
		if err := decoder.Decode(&line); err != nil {
			return header, nil, fmt.Errorf("%w: %s: %w", errSnapshot, path, err)
		}
		rows[line.ID] = sites.Row{ID: line.ID, Revision: line.Revision, Document: line.Document, Open: !line.Accepted, Good: line.Good, Refusal: line.Refusal}
	}
	if len(rows) != header.Rows {
		return header, nil, fmt.Errorf("%w: %s has %d rows and should have %d", errSnapshot, path, len(rows), header.Rows)
	}
	return header, rows, nil
}

// loadSnapshot makes the local copy the state, if there is one.
func (t *table) loadSnapshot() {
	header, rows, err := readSnapshot(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.status.SnapshotError = err.Error()
		return
	}
	t.head = sites.Head{Source: header.Source, Revision: header.Revision, Mark: header.Mark}
	t.rows, t.saved, t.lastSaved, t.status.Snapshot = rows, header.At, t.head, true
}
