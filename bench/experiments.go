package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// experiment is one kind of measurement.
type experiment struct {
	name  string
	about string
	sizes []int // numbers of sites, unless others are asked for

	run    func(*bench, context.Context, []int) error
	report func(*bench, io.Writer, []int) error
}

// experiments returns all of them, in the order of their work.
func experiments() []experiment {
	return []experiment{
		{
			name: "compare", about: "load, start, memory and a change, for all servers", sizes: []int{1, 1000, 10_000, 100_000},
			run: (*bench).compare, report: (*bench).reportCompare,
		},
		{
			name: "ratios", about: "the ratios of the comparison, with less noise", sizes: []int{1, 1000, 10_000, 100_000},
			run: (*bench).ratios, report: (*bench).reportRatios,
		},
		{
			name: "load", about: "what a configuration costs, against an app that does nothing", sizes: []int{1000, 10_000, 100_000},
			run: (*bench).loadCost, report: (*bench).reportLoadCost,
		},
		{
			name: "changes", about: "the heap after many changes under load", sizes: []int{10_000, 100_000},
			run: (*bench).manyChanges, report: (*bench).reportManyChanges,
		},
		{
			name: "adapt", about: "caddy adapt of a Caddyfile", sizes: []int{1000, 10_000},
			run: (*bench).adapt, report: (*bench).reportAdapt,
		},
		{
			name: "certificates", about: "start with a certificate for each site", sizes: []int{10_000},
			run: (*bench).certificates, report: (*bench).reportCertificates,
		},
		{
			name: "sitesfile", about: "changes of a file with the sites", sizes: []int{1000, 10_000, 100_000},
			run: (*bench).sitesFile, report: (*bench).reportSitesFile,
		},
		{
			name: "live", about: "sites in a database, changed through the API", sizes: []int{100_000, 1_000_000},
			run: (*bench).live, report: (*bench).reportLive,
		},
	}
}

// chooseExperiments returns those with the names.
func chooseExperiments(names []string) ([]experiment, error) {
	all := experiments()
	if slices.Contains(names, "all") {
		return all, nil
	}
	var chosen []experiment
	for _, name := range names {
		i := slices.IndexFunc(all, func(e experiment) bool { return e.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-what %q: there is no such experiment", name)
		}
		chosen = append(chosen, all[i])
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-what: nothing to measure")
	}
	return chosen, nil
}
