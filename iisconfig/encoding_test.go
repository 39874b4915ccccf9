package iisconfig

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

func toUTF16(s string, order binary.AppendByteOrder, bom bool) []byte {
	var out []byte
	if bom {
		out = order.AppendUint16(out, 0xFEFF)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// encodings are forms in which the same file may come.
var encodings = map[string]func(string) []byte{
	"utf-8 BOM":    func(s string) []byte { return append([]byte{0xEF, 0xBB, 0xBF}, s...) },
	"utf-16le BOM": func(s string) []byte { return toUTF16(s, binary.LittleEndian, true) },
	"utf-16be BOM": func(s string) []byte { return toUTF16(s, binary.BigEndian, true) },
	"utf-16le":     func(s string) []byte { return toUTF16(s, binary.LittleEndian, false) },
	"utf-16be":     func(s string) []byte { return toUTF16(s, binary.BigEndian, false) },
	"crlf":         func(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) },
	"crcrlf":       func(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\r\n")) },
	"utf-16le crcrlf": func(s string) []byte {
		return toUTF16(strings.ReplaceAll(s, "\n", "\r\r\n"), binary.LittleEndian, true)
	},
	"cr": func(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r")) },
}

// TestEncodings reads all test data in every form. The model is the same, lines too.
func TestEncodings(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "fuzz" || e.Name() == "malformed" {
			continue
		}
		files := readAll(t, filepath.Join("testdata", e.Name()))
		want := withoutEncoding(t, files)
		for name, encode := range encodings {
			t.Run(e.Name()+"/"+name, func(t *testing.T) {
				var encoded []File
				for _, f := range files {
					// A file in a code page of its own stays in it.
					if !bytes.ContainsAny(f.Data, "\x00\xff") && isText(f.Data) {
						f.Data = encode(string(f.Data))
					}
					encoded = append(encoded, f)
				}
				if got := withoutEncoding(t, encoded); got != want {
					t.Errorf("the model differs:\n%s", firstDifference(got, want))
				}
			})
		}
	}
}

func isText(data []byte) bool {
	_, encoding := decode(data)
	return encoding == encodingUTF8
}

func readAll(t *testing.T, dir string) []File {
	t.Helper()
	var files []File
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		files = append(files, File{Name: filepath.ToSlash(rel), Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func withoutEncoding(t *testing.T, files []File) string {
	t.Helper()
	s, err := Read(files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Inputs {
		s.Inputs[i].Encoding = ""
	}
	for i := range s.CertificateFiles {
		s.CertificateFiles[i].Size = 0
	}
	out, err := json.MarshalIndent(golden{Server: s, Effective: effective(s)}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + strings.Join(g[max(0, i-5):i+1], "\n") + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

// TestDeclaredOtherwise reads UTF-16 under a declaration that says UTF-8, and UTF-8
// under one that says UTF-16.
func TestDeclaredOtherwise(t *testing.T) {
	const body = "<?xml version=\"1.0\" encoding=\"%\"?>\n<site name=\"Bücher\" id=\"7\"/>"
	for name, data := range map[string][]byte{
		"utf-16 says utf-8":       toUTF16(strings.Replace(body, "%", "UTF-8", 1), binary.LittleEndian, true),
		"utf-8 says utf-16":       []byte(strings.Replace(body, "%", "utf-16", 1)),
		"windows-1252 says utf-8": bytes.ReplaceAll([]byte(strings.Replace(body, "%", "UTF-8", 1)), []byte("ü"), []byte{0xFC}),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Read([]File{{Name: "a.config", Data: data}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Sites) != 1 || s.Sites[0].Name != "Bücher" || s.Sites[0].Source.Line != 2 {
				t.Errorf("got %+v", s.Sites)
			}
		})
	}
}
