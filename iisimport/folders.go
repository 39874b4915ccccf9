package iisimport

import (
	"fmt"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// Folder translates a folder of the IIS server.
type Folder = iisconfig.Folder

// ParseFolder reads a translation such as "C:\inetpub=/srv/www".
func ParseFolder(text string) (Folder, error) {
	from, to, ok := strings.Cut(text, "=")
	if !ok || from == "" || to == "" {
		return Folder{}, fmt.Errorf(`%q is no translation of a folder, such as C:\inetpub=/srv/www`, text)
	}
	if !expressible(literal(to)) {
		return Folder{}, fmt.Errorf("the folder %q has no form in a Caddyfile", to)
	}
	return Folder{From: from, To: to}, nil
}

// Uses reports whether the sites, their logs or the central store of a server have a
// folder that is in the one given.
func Uses(server *iisconfig.Server, folder string) bool {
	in := iisconfig.CleanFolder(folder)
	all := Folders(server)
	for _, s := range server.Sites {
		if s.LogFile != nil && s.LogFile.Enabled {
			all = append(all, logDirectory(s.LogFile))
		}
	}
	for _, used := range all {
		if _, ok := iisconfig.FolderBelow(iisconfig.CleanFolder(used), in); ok {
			return true
		}
	}
	return false
}

// Folders lists the folders that the server serves or reads, as they are written there.
func Folders(server *iisconfig.Server) []string {
	var out []string
	for _, s := range server.Sites {
		for _, app := range s.Applications {
			for _, dir := range app.VirtualDirectories {
				out = append(out, dir.PhysicalPath)
			}
		}
	}
	if c := server.CentralStore; c != nil && c.Location != "" {
		out = append(out, c.Location)
	}
	return out
}

// folder translates a folder of the server.
func (o Options) folder(physical string) string {
	here, _ := iisconfig.Translate(o.Folders, physical)
	return here
}

// folderWord writes a folder into the Caddyfile. A variable of Windows is one of
// Caddy's environment.
func (w *siteWriter) folderWord(physical string, src iisconfig.Source) string {
	folders := w.b.plan.opts.Folders
	p, translated := iisconfig.Translate(folders, physical)
	if len(folders) > 0 && !translated {
		w.report().decide(src, "folder "+physical, "add --map for it", "no --map translates it")
	}
	if before, after, ok := strings.Cut(p, "%"); ok {
		if name, rest, ok := strings.Cut(after, "%"); ok && isVariable(name) {
			return literal(before) + "{env." + name + "}" + literal(rest)
		}
	}
	return literal(p)
}

// folderAt adds the folder of a node to the words of a directive: what sites that are
// otherwise alike differ in.
func (w *siteWriter) folderAt(d *Directive, n *node) *Directive {
	d.Words = append(d.Words, w.folderWord(n.physical, n.source))
	if p := w.b.plan.opts.folder(n.physical); literal(p) == d.Words[len(d.Words)-1] {
		d.slots = append(d.slots, slot{word: len(d.Words) - 1, name: w.variable("root", n), value: p, path: true})
	}
	return d
}

// nameable tells whether a Caddyfile can name the folder of a node, here and as it was.
func (w *siteWriter) nameable(n *node) bool {
	return expressible(literal(w.b.plan.opts.folder(n.physical))) && expressible(windowsFolder(n.physical))
}

func isVariable(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
