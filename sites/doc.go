// Package sites has the sources of sites that are changed while they serve: the
// guest modules of the namespace iis.sites, and the tables behind them.
//
// A table has a row for each site: the JSON object of the site as in the iis app's
// configuration, without its id. Every transaction of a table is a revision; the
// revisions of a table are its log. Who serves the sites judges what is written; a
// table keeps it.
package sites
