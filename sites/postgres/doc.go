// Package postgres has the source of sites iis.sites.postgres: a table in PostgreSQL,
// which any number of nodes serve and any program may write by plain SQL.
//
// Triggers in the database keep revisions and the log. The revisions are the truth and
// notifications a hint, so nothing is missed that is not notified; a node steps from
// revision to revision and never into the middle of one.
package postgres
