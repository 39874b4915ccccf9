package commands

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// importSources is what the import reads.
type importSources struct {
	names        []string // files and folders
	certificates string   // the folder; empty to look for one
	// maps says where contents will be on this machine, copies where the copies of
	// web.config files are.
	maps, copies []iisimport.Folder
}

// plan reads everything and translates it.
func (in *importSources) plan(opts iisimport.Options) (*iisimport.Plan, error) {
	read, err := in.options()
	if err != nil {
		return nil, err
	}
	server, err := iisconfig.ReadFS(hostFS{}, read, in.names...)
	if err != nil {
		return nil, err
	}
	if err := in.unused(server); err != nil {
		return nil, err
	}
	for pool := range opts.PoolUpstreams {
		if !hasPool(server, pool) {
			return nil, fmt.Errorf("--upstream: no application is in a pool %q", pool)
		}
	}
	// Caddy reads the Caddyfile in another folder than this one, as a service in the root.
	opts.CertificateFolder = filepath.ToSlash(absolute(cmp.Or(in.certificates, "certificates")))
	if in.certificates != "" {
		opts.Certificates, err = iisimport.FindCertificates(os.DirFS(in.certificates), opts.CertificateFolder, os.Getenv(iisimport.PasswordVariable))
		if err != nil {
			return nil, err
		}
	}
	return iisimport.Import(server, opts), nil
}

// options checks that everything that was named is there.
func (in *importSources) options() (iisconfig.Options, error) {
	var read iisconfig.Options
	names := make([]string, len(in.names))
	for i, name := range in.names {
		info, err := os.Stat(name)
		if err != nil {
			return read, err
		}
		names[i] = filepath.ToSlash(filepath.Clean(name))
		if !info.IsDir() {
			continue
		}
		if err := hasFiles(name); err != nil {
			return read, err
		}
		if in.certificates == "" {
			in.certificates = certificatesIn(name)
		}
	}
	in.names = names
	if in.certificates != "" {
		if err := isFolder("--certificates", in.certificates); err != nil {
			return read, err
		}
	}
	for i, c := range in.copies {
		if err := isFolder("--copies", c.To); err != nil {
			return read, err
		}
		in.copies[i] = in.addCopies(&read, c)
	}
	// Contents that are in their place already have web.config files as well.
	for _, m := range in.maps {
		if isFolder("--map", m.To) == nil {
			in.addCopies(&read, m)
		}
	}
	return read, nil
}

// addCopies has the web.config files of a folder read as those of a folder of the
// server. It returns the folder by the name that the files in it have.
func (in *importSources) addCopies(read *iisconfig.Options, c iisimport.Folder) iisimport.Folder {
	to, inside := c.To, false
	for _, name := range in.names {
		if rest, err := filepath.Rel(absolute(name), absolute(c.To)); err == nil && filepath.IsLocal(rest) {
			to, inside = filepath.Join(name, rest), true
			break
		}
	}
	c.To = filepath.ToSlash(filepath.Clean(to))
	read.Folders = append(read.Folders, c)
	if !inside && !slices.Contains(read.WebConfigs, c.To) {
		read.WebConfigs = append(read.WebConfigs, c.To)
	}
	return c
}

func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// elsewhere begins as paths of Windows, of Linux, or of shares do: they are whole, also
// where another system imports.
var elsewhere = regexp.MustCompile(`^(?:[A-Za-z]:|[/\\])`)

// wholePath is where contents will be, whatever folder Caddy runs in.
func wholePath(name string) string {
	if elsewhere.MatchString(name) {
		return name
	}
	return filepath.ToSlash(absolute(name))
}

func isFolder(flag, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: %s is not a folder", flag, name)
	}
	return nil
}

// hasFiles refuses a folder without any file: nothing was copied into it.
func hasFiles(name string) error {
	found := errors.New("found")
	err := filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return found
		}
		return nil
	})
	switch {
	case errors.Is(err, found):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("the folder %s has no files in it", name)
}

// certificatesIn returns the folder for certificates of one that is imported, as the
// guide lays it out, or that folder itself.
func certificatesIn(name string) string {
	own := filepath.Join(name, "certificates")
	if isFolder("", own) == nil {
		return own
	}
	return name
}

// unused refuses a --map or --copies that is about nothing: a mistake in it would leave
// contents or settings out.
func (in *importSources) unused(server *iisconfig.Server) error {
	if len(server.Sites) == 0 {
		return nil // which is said otherwise
	}
	for _, m := range in.maps {
		if !iisimport.Uses(server, m.From) {
			return fmt.Errorf("--map: no folder of the server is in %s; it has %s", m.From, folderList(server))
		}
	}
	for _, c := range in.copies {
		if !iisimport.Uses(server, c.From) && !inAnyFolder(server, c.From) {
			return fmt.Errorf("--copies: no folder of the server is in %s; it has %s", c.From, folderList(server))
		}
		if !slices.ContainsFunc(server.Inputs, func(i iisconfig.Input) bool {
			return i.Kind == iisconfig.WebConfig && (c.To == "." || strings.HasPrefix(i.Name, c.To+"/"))
		}) {
			return fmt.Errorf("--copies: there is no web.config in %s", c.To)
		}
	}
	return nil
}

// hasPool reports whether an application is in a pool.
func hasPool(server *iisconfig.Server, pool string) bool {
	return slices.ContainsFunc(server.Sites, func(s *iisconfig.Site) bool {
		return slices.ContainsFunc(s.Applications, func(a *iisconfig.Application) bool { return strings.EqualFold(a.Pool, pool) })
	})
}

// inAnyFolder reports whether a folder is in one that a site has.
func inAnyFolder(server *iisconfig.Server, folder string) bool {
	return slices.ContainsFunc(iisimport.Folders(server), func(used string) bool {
		_, ok := iisconfig.FolderBelow(iisconfig.CleanFolder(folder), iisconfig.CleanFolder(used))
		return ok
	})
}

// folderList names some folders of the server.
func folderList(server *iisconfig.Server) string {
	all := iisimport.Folders(server)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		return "none"
	}
	if len(all) > 5 {
		all = append(all[:5:5], "...")
	}
	return strings.Join(all, ", ")
}
