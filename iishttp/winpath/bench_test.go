//go:build unix

package winpath

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkFind shows what a name costs: as it is spelled, in another case,
// and one that is not there, in a small and in a large folder; "cold" without
// a kept listing.
func BenchmarkFind(b *testing.B) {
	for _, size := range []int{20, 20_000} {
		root := b.TempDir()
		for i := range size {
			plant(b, root, fmt.Sprintf("Images/Picture-%d.jpg", i))
		}
		old := time.Now().Add(-time.Minute)
		for _, dir := range []string{root, filepath.Join(root, "Images")} {
			if err := os.Chtimes(dir, old, old); err != nil {
				b.Fatal(err)
			}
		}
		run := func(name, path string, found bool) {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := findPath(root, path); (err == nil) != found {
						b.Fatal(err)
					}
				}
			})
		}
		run("exact", "/Images/Picture-7.jpg", true)
		run("other case", "/images/picture-7.JPG", true)
		run("missing", "/Images/nothing.jpg", false)
		b.Run(fmt.Sprintf("%d/cold", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := readListing(filepath.Join(root, "Images"), maxListing); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
