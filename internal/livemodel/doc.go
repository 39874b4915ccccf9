// Package livemodel checks the protocol of live sites on its real code and a real
// PostgreSQL: nodes, plain SQL, lost connections, restarts, restores and trimmed logs in
// random order, with what must hold after each step. What contradicts what is as simple
// as possible there: sites want letters, and a letter has one owner.
package livemodel
