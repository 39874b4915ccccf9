// Package report keeps the results of measurements, as lines of JSON, and makes
// tables of them.
package report

import (
	"encoding/json"
	"io"
	"time"
)

// Key names what was measured.
type Key struct {
	What  string `json:"what"` // the kind of measurement
	Peer  string `json:"peer"`
	Sites int    `json:"sites"`
}

// Record is what one repetition has measured.
type Record struct {
	Key

	Certs  string             `json:"certs,omitempty"`
	Rep    int                `json:"rep"`
	Time   time.Time          `json:"time"`
	Values map[string]float64 `json:"values,omitempty"`
	Notes  map[string]string  `json:"notes,omitempty"` // why a value is missing, or wrong
	Detail []any              `json:"detail,omitempty"`
}

// NewRecord returns an empty record.
func NewRecord(key Key, certs string, rep int) *Record {
	return &Record{
		Key: key, Certs: certs, Rep: rep, Time: time.Now().UTC(),
		Values: make(map[string]float64), Notes: make(map[string]string),
	}
}

// Log has all records.
type Log struct {
	records []*Record
	out     io.Writer
}

// NewLog returns a log that writes each record to out as a line of JSON.
func NewLog(out io.Writer) *Log { return &Log{out: out} }

// Add adds a record.
func (l *Log) Add(r *Record) error {
	l.records = append(l.records, r)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = l.out.Write(append(line, '\n'))
	return err
}

// ByRep returns the values of a metric by repetition.
func (l *Log) ByRep(key Key, metric string) map[int]float64 {
	values := make(map[int]float64)
	for _, r := range l.records {
		if v, ok := r.Values[metric]; ok && r.Key == key {
			values[r.Rep] = v
		}
	}
	return values
}

// Values returns the values of a metric in the order in which they were added.
func (l *Log) Values(key Key, metric string) []float64 {
	var values []float64
	for _, r := range l.records {
		if v, ok := r.Values[metric]; ok && r.Key == key {
			values = append(values, v)
		}
	}
	return values
}

// Note returns the first note about a metric, empty if there is none.
func (l *Log) Note(key Key, metric string) string {
	for _, r := range l.records {
		if note := r.Notes[metric]; note != "" && r.Key == key {
			return note
		}
	}
	return ""
}
