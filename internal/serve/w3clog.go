package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
)

// w3cLogs are the W3C logs of a configuration.
type w3cLogs struct {
	mu       sync.Mutex
	computer string
	logs     map[string]*siteLog // by their settings
	byShared map[*config.Content]*siteLog
	folders  map[string]*w3cFolder // by the folder as it is configured
	released bool
}

// siteLog is the log of sites with the same settings.
type siteLog struct {
	folder   *logfile.Folder
	layout   *logfile.Layout
	computer string
}

// w3cFolder is a folder of the configuration.
type w3cFolder struct {
	*logfile.Folder
	key     string // in the pool
	problem string // why it cannot be used at all; there is no Folder then
}

// logFolders are those of the process, by path: a load keeps those that it has
// as well.
var logFolders = caddy.NewUsagePool()

// w3cLogOf returns the log of a site, nil if it has none.
func (a *Instance) w3cLogOf(cfg *config.Site) (*siteLog, error) {
	l := &a.w3c
	l.mu.Lock()
	defer l.mu.Unlock()
	var shared *config.Content
	if of := a.ContentFor(cfg); of != &cfg.Content {
		shared = of
	}
	if cfg.W3CLog == nil {
		if known, ok := l.byShared[shared]; ok {
			return known, nil
		}
	}
	settings := a.W3CLog
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

// checkW3CLogs checks settings that no site may have yet.
func (a *Instance) checkW3CLogs() error {
	a.w3c.logs, a.w3c.byShared, a.w3c.folders = make(map[string]*siteLog), make(map[*config.Content]*siteLog), make(map[string]*w3cFolder)
	a.w3c.computer, _ = os.Hostname()
	check := func(label string, w *config.W3CLog) error {
		settings := w.Over(a.W3CLog)
		if w == nil || settings == nil {
			return nil
		}
		if _, err := settings.Layout(); err != nil {
			return fmt.Errorf("%sw3c_log: %w", label, err)
		}
		return nil
	}
	errs := []error{check("", a.W3CLog)}
	if a.Defaults != nil {
		errs = append(errs, check("defaults: ", a.Defaults.W3CLog))
	}
	for _, name := range SortedKeys(a.Templates) {
		if of := a.Templates[name]; of != nil {
			errs = append(errs, check(fmt.Sprintf("template %q: ", name), of.W3CLog))
		}
	}
	return errors.Join(errs...)
}

// get returns the log with some settings.
func (l *w3cLogs) get(settings *config.W3CLog) (*siteLog, error) {
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
	var made *siteLog
	if folder := l.folder(settings.Folder); folder.Folder != nil {
		made = &siteLog{folder: folder.Folder, layout: layout, computer: l.computer}
	}
	l.logs[string(raw)] = made
	return made, nil
}

// folder returns a folder by its name in the configuration.
func (l *w3cLogs) folder(name string) *w3cFolder {
	if known := l.folders[name]; known != nil {
		return known
	}
	folder := new(w3cFolder)
	l.folders[name] = folder
	path, err := folderPath(name)
	if err != nil {
		folder.problem = err.Error()
		return folder
	}
	folder.key = path
	val, _, err := logFolders.LoadOrNew(path, func() (caddy.Destructor, error) {
		return logfile.New(path, func(err error) { tellFolder(path, err) }), nil
	})
	if err != nil {
		folder.problem = err.Error()
		return folder
	}
	folder.Folder = val.(*logfile.Folder)
	return folder
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

// probe finds out which folders cannot be written, when the configuration serves.
func (l *w3cLogs) probe() {
	for _, folder := range l.used() {
		go folder.Probe()
	}
}

// used lists the folders that can be used.
func (l *w3cLogs) used() []*w3cFolder {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*w3cFolder
	for _, name := range SortedKeys(l.folders) {
		if folder := l.folders[name]; folder.Folder != nil {
			list = append(list, folder)
		}
	}
	return list
}

// release lets go of the folders when no request needs them any more. What they
// hold is written, if no other configuration has them. When the process exits,
// it waits for that.
func (l *w3cLogs) release() {
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

// flush writes what waits, since the process exits.
func (l *w3cLogs) flush() {
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
	codeW3CFolder  = "w3c-log-folder"
	CodeW3CWriting = "w3c-log-not-written"
)

// findings tells which logs are not written.
func (l *w3cLogs) findings() []binding.Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []binding.Finding
	for _, name := range SortedKeys(l.folders) {
		folder := l.folders[name]
		if folder.Folder == nil {
			list = append(list, binding.Finding{
				Severity: binding.Warning, Code: codeW3CFolder,
				Message: fmt.Sprintf("w3c_log %s: no logs are written there: %s", name, folder.problem),
				Fix:     "name a folder of this machine in w3c_log",
			})
		} else if err := folder.Problem(); err != nil {
			list = append(list, binding.Finding{
				Severity: binding.Warning, Code: CodeW3CWriting,
				Message: fmt.Sprintf("w3c_log %s: lines are lost: %v", name, err),
				Fix:     "let the user that runs Caddy write the folder, and see that the disk has room",
			})
		}
	}
	return list
}

var descW3CLines = prometheus.NewDesc("caddy_iis_w3c_log_lines_total",
	"Lines of W3C logs by folder and result: written, queue_full (dropped, since the disk does not keep up), failed (the file could not be written).",
	[]string{"folder", "result"}, nil)

// collect tells how many lines were written and dropped.
func (l *w3cLogs) collect(ch chan<- prometheus.Metric) {
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
			ch <- prometheus.MustNewConstMetric(descW3CLines, prometheus.CounterValue, float64(c.n), strings.ToValidUTF8(folder.key, "?"), c.result)
		}
	}
}
