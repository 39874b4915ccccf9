// Package live has what a source of sites is apart from what serves them: its open table and
// what the process knows of it, the rows that are judged, claimed for, held back and written,
// and who is told of it. What serves implements Node.
package live
