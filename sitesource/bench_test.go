package sitesource

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

const benchSites = 100_000

// benchFile returns the content of a file with many sites.
func benchFile(names ...func(i int) string) []byte {
	var b bytes.Buffer
	for i := range benchSites {
		name := fmt.Sprintf("Site %d", i+1)
		for _, n := range names {
			if other := n(i); other != "" {
				name = other
			}
		}
		fmt.Fprintf(&b, `{"id":%d,"name":%q,"secure_bindings":[":443:www.site-%d.example",":443:site-%d.example"],"certificate":"wild"}`+"\n", i+1, name, i, i)
	}
	return b.Bytes()
}

// benchChange reads two versions of a file by turns.
func benchChange(b *testing.B, versions [2][]byte, changed int) {
	var sources [2]*File[site]
	for i, v := range versions {
		path := filepath.Join(b.TempDir(), "sites")
		write(b, path, string(v))
		sources[i] = NewFile(path, decodeJSON, FileOptions{Settle: time.Nanosecond})
	}
	state, _ := read(b, sources[0], nil)
	b.SetBytes(int64(len(versions[0])))
	b.ReportAllocs()
	start, i := cpu(), 0
	for b.Loop() {
		i++
		var diff Difference[site]
		state, diff = read(b, sources[i%2], state)
		if len(diff.Changed) != changed {
			b.Fatal(len(diff.Changed))
		}
	}
	b.ReportMetric(float64((cpu()-start).Microseconds())/1000/float64(i), "cpu-ms/op")
}

func BenchmarkReadOneChange(b *testing.B) {
	benchChange(b, [2][]byte{benchFile(), benchFile(func(i int) string {
		if i == benchSites/2 {
			return "Shop"
		}
		return ""
	})}, 1)
}

// The lines between two that changed are compared one by one.
func BenchmarkReadBothEnds(b *testing.B) {
	benchChange(b, [2][]byte{benchFile(), benchFile(func(i int) string {
		if i == 0 || i == benchSites-1 {
			return "Shop"
		}
		return ""
	})}, 2)
}

func BenchmarkReadMoved(b *testing.B) {
	data := benchFile()
	half := bytes.IndexByte(data[len(data)/2:], '\n') + len(data)/2 + 1
	benchChange(b, [2][]byte{data, append(bytes.Clone(data[half:]), data[:half]...)}, 0)
}

func BenchmarkReadUnchanged(b *testing.B) {
	data := benchFile()
	benchChange(b, [2][]byte{data, data}, 0)
}

func BenchmarkReadFirst(b *testing.B) {
	path := filepath.Join(b.TempDir(), "sites")
	data := benchFile()
	write(b, path, string(data))
	f := NewFile(path, decodeJSON, FileOptions{Settle: time.Nanosecond})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	start, i := cpu(), 0
	for b.Loop() {
		i++
		if _, diff := read(b, f, nil); len(diff.Changed) != benchSites {
			b.Fatal(len(diff.Changed))
		}
	}
	b.ReportMetric(float64((cpu()-start).Microseconds())/1000/float64(i), "cpu-ms/op")
}
