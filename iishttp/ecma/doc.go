// Package ecma has the three pattern languages of the URL Rewrite module of IIS:
// ECMAScript, Wildcard and ExactMatch.
//
// The regular expressions are those of ECMA-262, third edition (15.10), which the module
// names as its syntax. A parser of that grammar stands in front: what the grammar does
// not have (look-behind, named groups, inline flags, a brace that is no quantifier) is
// refused with its position, so that no pattern means here what it does not mean there.
// Most patterns are then run by Go's regexp, whose time is linear; the others, and all on
// text that is not printable ASCII, by a backtracking engine with a time limit.
package ecma
