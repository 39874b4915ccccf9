package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// W3CLines returns the lines of a site's W3C logs, without their times, headers
// and comments.
func W3CLines(dir string, site int) []string {
	names, _ := filepath.Glob(filepath.Join(dir, fmt.Sprintf("W3SVC%d", site), "u_ex*.log"))
	var lines []string
	for _, name := range names {
		raw, _ := os.ReadFile(name)
		for line := range strings.SplitSeq(string(raw), "\r\n") {
			if line != "" && line[0] != '#' {
				lines = append(lines, w3cTimes.ReplaceAllString(line, ""))
			}
		}
	}
	return lines
}

var w3cTimes = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d | \d+$`)
