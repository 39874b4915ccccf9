// Package w3clog writes the W3C logs of sites: the word w3c_log, its folders, and what a
// request leaves in them. It knows nothing of how a site was chosen.
package w3clog

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
)

// Logs are the W3C logs of a configuration. The zero value has none.
type Logs struct {
	app      *config.App
	mu       sync.Mutex
	computer string
	logs     map[string]*Log // by their settings
	byShared map[*config.Content]*Log
	folders  map[string]*folder // by the folder as it is configured
	released bool
}

// Log is the log of sites with the same settings.
type Log struct {
	folder   *logfile.Folder
	layout   *logfile.Layout
	computer string
}

// Dir is the folder that the files are in.
func (l *Log) Dir() string { return l.folder.Dir() }

// folder is a folder of the configuration.
type folder struct {
	*logfile.Folder
	key     string // in the pool
	problem string // why it cannot be used at all; there is no Folder then
}

// logFolders are those of the process, by path: a load keeps those that it has
// as well.
var logFolders = caddy.NewUsagePool()

// Of returns the log of a site, nil if it has none.
func (l *Logs) Of(cfg *config.Site) (*Log, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var shared *config.Content
	if of := l.app.ContentFor(cfg); of != &cfg.Content {
		shared = of
	}
	if cfg.W3CLog == nil {
		if known, ok := l.byShared[shared]; ok {
			return known, nil
		}
	}
	settings := l.app.W3CLog
	if shared != nil {
		settings = shared.W3CLog.Over(settings)
	}
	found, err := l.get(cfg.W3CLog.Over(settings))
	if err != nil {
		return nil, fmt.Errorf("w3c_log: %w", err)
	}
	if cfg.W3CLog == nil {
		l.byShared[shared] = found
	}
	return found, nil
}

// Provision prepares for the logs of a configuration, and checks settings that no site may
// have yet.
func (l *Logs) Provision(app *config.App) error {
	l.app = app
	l.logs, l.byShared, l.folders = make(map[string]*Log), make(map[*config.Content]*Log), make(map[string]*folder)
	l.computer, _ = os.Hostname()
	check := func(label string, w *config.W3CLog) error {
		settings := w.Over(app.W3CLog)
		if w == nil || settings == nil {
			return nil
		}
		if _, err := settings.Layout(); err != nil {
			return fmt.Errorf("%sw3c_log: %w", label, err)
		}
		return nil
	}
	errs := []error{check("", app.W3CLog)}
	if app.Defaults != nil {
		errs = append(errs, check("defaults: ", app.Defaults.W3CLog))
	}
	for _, name := range slices.Sorted(maps.Keys(app.Templates)) {
		if of := app.Templates[name]; of != nil {
			errs = append(errs, check(fmt.Sprintf("template %q: ", name), of.W3CLog))
		}
	}
	return errors.Join(errs...)
}

// get returns the log with some settings.
func (l *Logs) get(settings *config.W3CLog) (*Log, error) {
	if settings == nil || settings.Off {
		return nil, nil
	}
	if settings.Folder == "" {
		return nil, errors.New("it has no folder: name one here, as in w3c_log /var/log/w3c, or in iis for all sites")
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	if known, ok := l.logs[string(raw)]; ok {
		return known, nil
	}
	layout, err := settings.Layout()
	if err != nil {
		return nil, err
	}
	var made *Log
	if in := l.folder(settings.Folder); in.Folder != nil {
		made = &Log{folder: in.Folder, layout: layout, computer: l.computer}
	}
	l.logs[string(raw)] = made
	return made, nil
}

// folder returns a folder by its name in the configuration.
func (l *Logs) folder(name string) *folder {
	if known := l.folders[name]; known != nil {
		return known
	}
	made := new(folder)
	l.folders[name] = made
	path, err := folderPath(name)
	if err != nil {
		made.problem = err.Error()
		return made
	}
	made.key = path
	val, _, err := logFolders.LoadOrNew(path, func() (caddy.Destructor, error) {
		return logfile.New(path, func(err error) { tellFolder(path, err) }), nil
	})
	if err != nil {
		made.problem = err.Error()
		return made
	}
	made.Folder = val.(*logfile.Folder)
	return made
}

// windowsPath begins as paths do that mean nothing on other systems.
var windowsPath = regexp.MustCompile(`^(?:[A-Za-z]:(?:[/\\]|$)|//|\\\\)`)

// folderPath finds out what a configured folder is on this machine.
func folderPath(name string) (string, error) {
	path, err := caddy.NewReplacer().ReplaceOrErr(name, true, true)
	if err != nil {
		return "", err
	}
	if runtime.GOOS != "windows" && windowsPath.MatchString(path) {
		return "", errors.New("it is a folder of Windows, and this is not")
	}
	return filepath.Abs(path)
}

// tellFolder writes to the log that the files of a folder cannot be written, or
// that they can again. Folders outlive configurations, and so does this logger.
func tellFolder(path string, err error) {
	logger := caddy.Log().Named("iis.w3c_log")
	if err == nil {
		logger.Info("W3C logs are written again", zap.String("folder", path))
		return
	}
	logger.Error("W3C logs cannot be written; requests are served without", zap.String("folder", path), zap.Error(err))
}

// Probe finds out which folders cannot be written, when the configuration serves.
func (l *Logs) Probe() {
	for _, folder := range l.used() {
		go folder.Probe()
	}
}

// used lists the folders that can be used.
func (l *Logs) used() []*folder {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*folder
	for _, name := range slices.Sorted(maps.Keys(l.folders)) {
		if folder := l.folders[name]; folder.Folder != nil {
			list = append(list, folder)
		}
	}
	return list
}

// Release lets go of the folders when no request needs them any more. What they
// hold is written, if no other configuration has them. When the process exits,
// it waits for that.
func (l *Logs) Release() {
	l.mu.Lock()
	released := l.released
	l.released = true
	l.mu.Unlock()
	if released {
		return
	}
	var all sync.WaitGroup
	for _, folder := range l.used() {
		all.Go(func() {
			if _, err := logFolders.Delete(folder.key); err != nil {
				tellFolder(folder.key, err)
			}
		})
	}
	if caddy.Exiting() {
		all.Wait()
	}
}

// Flush writes what waits, since the process exits.
func (l *Logs) Flush() {
	var all sync.WaitGroup
	for _, folder := range l.used() {
		all.Go(func() {
			if err := folder.Flush(); err != nil {
				tellFolder(folder.key, err)
			}
		})
	}
	all.Wait()
}

// The codes of findings about W3C logs.
const (
	codeFolder  = "w3c-log-folder"
	CodeWriting = "w3c-log-not-written" // comes and goes with the disk
)

// Findings tells which logs are not written.
func (l *Logs) Findings() []binding.Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []binding.Finding
	for _, name := range slices.Sorted(maps.Keys(l.folders)) {
		folder := l.folders[name]
		if folder.Folder == nil {
			list = append(list, binding.Finding{
				Severity: binding.Warning, Code: codeFolder,
				Message: fmt.Sprintf("w3c_log %s: no logs are written there: %s", name, folder.problem),
				Fix:     "name a folder of this machine in w3c_log",
			})
		} else if err := folder.Problem(); err != nil {
			list = append(list, binding.Finding{
				Severity: binding.Warning, Code: CodeWriting,
				Message: fmt.Sprintf("w3c_log %s: lines are lost: %v", name, err),
				Fix:     "let the user that runs Caddy write the folder, and see that the disk has room",
			})
		}
	}
	return list
}

// DescLines is the metric of the lines that were written or lost.
var DescLines = prometheus.NewDesc("caddy_iis_w3c_log_lines_total",
	"Lines of W3C logs by folder and result: written, queue_full (dropped, since the disk does not keep up), failed (the file could not be written).",
	[]string{"folder", "result"}, nil)

// Collect tells how many lines were written and dropped.
func (l *Logs) Collect(ch chan<- prometheus.Metric) {
	seen := make(map[string]bool)
	for _, folder := range l.used() {
		if seen[folder.key] {
			continue // the same one by another name
		}
		seen[folder.key] = true
		stats := folder.Stats()
		for _, c := range []struct {
			result string
			n      uint64
		}{{"written", stats.Written}, {"queue_full", stats.Full}, {"failed", stats.Failed}} {
			ch <- prometheus.MustNewConstMetric(DescLines, prometheus.CounterValue, float64(c.n), strings.ToValidUTF8(folder.key, "?"), c.result)
		}
	}
}
