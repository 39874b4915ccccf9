package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// The error numbers of adsutil.vbs.
const (
	errPathNotFound    = 0x80070003
	errAccessDenied    = 0x80070005
	errInvalidArgument = 0x80070057
	errNotSet          = 0x80005006
	errNotAllowed      = 0x8000500D
)

// adsutil does one command of adsutil.vbs: what it prints goes to Out in the
// words of that script, so that whatever reads these goes on working. Hints
// that the script does not have go to Err.
type adsutil struct {
	*Env
	verb string // in upper case
}

// Adsutil does GET, SET, DELETE or ENUM.
func Adsutil(ctx context.Context, e *Env, verb string, args []string) error {
	a := &adsutil{e, strings.ToUpper(verb)}
	wrong := len(args) != 1
	if a.verb == "SET" {
		wrong = len(args) < 2
	}
	if wrong {
		a.printf("Error: Wrong number of Args for the %s command\n", a.verb)
		return exit(ExitUsage)
	}
	path := cleanPath(args[0])
	switch a.verb {
	case "ENUM":
		return a.enum(ctx, path)
	case "DELETE":
		if node := parseNode(path); node.kind == siteNode {
			return a.deleteSite(ctx, node)
		}
	}
	object, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		object, name = path[:i], path[i+1:]
	}
	node := parseNode(object)
	if node.kind == unknownNode {
		return a.noObject(object)
	}
	switch a.verb {
	case "SET":
		return a.set(ctx, node, name, args[1:])
	case "DELETE":
		return a.delete(ctx, node, name)
	}
	return a.get(ctx, node, name)
}

// cleanPath brings a metabase path to the form in which it is looked up.
func cleanPath(path string) string {
	path = strings.ReplaceAll(strings.TrimSpace(path), `\`, "/")
	return strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
}

// node is a place in the metabase.
type node struct {
	kind nodeKind
	path string // as typed
	site uint32
}

type nodeKind int

const (
	unknownNode nodeKind = iota
	serviceNode          // w3svc
	siteNode             // w3svc/1
	rootNode             // w3svc/1/ROOT
)

func parseNode(path string) node {
	n := node{path: path}
	parts := strings.Split(path, "/")
	if !strings.EqualFold(parts[0], "w3svc") {
		return n
	}
	if len(parts) == 1 {
		n.kind = serviceNode
		return n
	}
	id, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil || id == 0 || parts[1][0] == '0' || parts[1][0] == '+' {
		return n
	}
	n.site = uint32(id)
	switch {
	case len(parts) == 2:
		n.kind = siteNode
	case len(parts) == 3 && strings.EqualFold(parts[2], "ROOT"):
		n.kind = rootNode
	}
	return n
}

// failed prints an error as the script does, with its number, and returns it
// as exit code.
func (a *adsutil) failed(number uint32, description string, lines ...string) error {
	a.printf("%s\n", description)
	a.printf("ErrNumber: %d (0x%08X)\n", int32(number), number)
	for _, line := range lines {
		a.printf("%s\n", line)
	}
	return exit(exitCode(number))
}

// exitCode is an error number as exit code. Unix has the low eight bits.
func exitCode(number uint32) int {
	if runtime.GOOS == "windows" && strconv.IntSize == 64 {
		return int(int64(number))
	}
	return int(number & 0xff)
}

const pathNotFound = "The path requested could not be found."

// noObject is the answer for a path at which there is nothing.
func (a *adsutil) noObject(path string) error {
	err := a.failedToFind(path)
	a.hint("caddy iis list shows the sites; their paths are as in /w3svc/1")
	return err
}

// failedToFind is what adsutil.vbs says of such a path.
func (a *adsutil) failedToFind(path string) error {
	line := fmt.Sprintf("Error Trying To %s the Object (GetObject Failed): %s", a.verb, path)
	if a.verb == "SET" {
		line = "Error Trying To Get the Object: " + path
	}
	return a.failed(errPathNotFound, pathNotFound, line)
}

// notConfigured is noObject for a site that the configuration does not have. It
// may be one of the sites file, of which adsutil's commands know nothing.
func (a *adsutil) notConfigured(ctx context.Context, n node) error {
	site, err := a.Client.Site(ctx, n.site)
	if err != nil || site.Source != adminapi.SourceSitesFile {
		return a.noObject(n.path)
	}
	err = a.failedToFind(n.path)
	a.hint("%s is in the sites file: caddy iis show %d shows it, and it is changed there", siteLabel(site.ID, site.Name), site.ID)
	return err
}

// noProperty is the answer for a property that is not known here.
func (a *adsutil) noProperty(name string) error {
	err := a.failed(errPathNotFound, pathNotFound,
		"Error Trying To GET the Schema of the property: IIS://localhost/Schema/"+name)
	a.hint("the properties are ServerBindings, SecureBindings, ServerComment, ServerState and ServerAutoStart")
	return err
}

// notAllowed is the answer for a property that only sites have.
func (a *adsutil) notAllowed(name string) error {
	return a.failed(errNotAllowed, "The directory property cannot be found in the cache.",
		fmt.Sprintf("Error Trying To %s the property: (%s Method Failed) %s", a.verb, strings.ToUpper(a.verb[:1])+strings.ToLower(a.verb[1:]), name),
		"  (This property is probably not allowed at this node)")
}

func (a *adsutil) notSet(name string) error {
	a.printf("The parameter %q is not set at this node.\n", name)
	return exit(exitCode(errNotSet))
}

// site returns the configuration of a site, or prints that there is none.
func (a *adsutil) site(ctx context.Context, n node) (adminapi.SiteConfig, error) {
	site, err := a.Client.SiteConfig(ctx, n.site)
	if errors.Is(err, adminapi.ErrNoSite) {
		return site, a.notConfigured(ctx, n)
	}
	return site, err
}

func (a *adsutil) get(ctx context.Context, n node, name string) error {
	site, err := a.nodeSite(ctx, n)
	if err != nil {
		return err
	}
	p, ok := findProperty(name)
	if !ok {
		return a.noProperty(name)
	}
	if n.kind != siteNode {
		return a.notAllowed(name)
	}
	value, err := p.read(ctx, a.Env, n, site)
	if err != nil {
		return err
	}
	if value == nil {
		return a.notSet(name)
	}
	a.printValue(name, value, false)
	return nil
}

// nodeSite returns the site that a node belongs to, if any.
func (a *adsutil) nodeSite(ctx context.Context, n node) (adminapi.SiteConfig, error) {
	if n.kind == serviceNode {
		return adminapi.SiteConfig{}, nil
	}
	return a.site(ctx, n)
}

// printValue prints a property as GET and ENUM do, which differ in lists.
func (a *adsutil) printValue(name string, value any, enum bool) {
	list, ok := value.([]string)
	if !ok {
		a.printf("%s\n", property32(name)+scalar(value))
		return
	}
	blanks := "  "
	if enum {
		blanks = " "
	}
	a.printf("%s(LIST)%s(%d Items)\n", property32(name), blanks, len(list))
	for _, item := range list {
		a.printf("  \"%s\"\n", item)
	}
	if enum {
		a.printf("\n")
	}
}

// property32 is the name of a property before its value.
func property32(name string) string {
	if len(name) >= 32 {
		return name + " : "
	}
	return fmt.Sprintf("%-32s: ", name)
}

func scalar(value any) string {
	switch v := value.(type) {
	case bool:
		if v {
			return "(BOOLEAN) True"
		}
		return "(BOOLEAN) False"
	case int:
		return fmt.Sprintf("(INTEGER) %d", v)
	}
	return fmt.Sprintf(`(STRING) "%s"`, value)
}

func (a *adsutil) enum(ctx context.Context, path string) error {
	n := parseNode(path)
	switch n.kind {
	case serviceNode:
		return a.enumService(ctx, n)
	case siteNode:
	case rootNode:
		if _, err := a.site(ctx, n); err != nil {
			return err
		}
		a.printf("%s\n\n", property32("KeyType")+scalar("IIsWebVirtualDir"))
		return nil
	default:
		return a.noObject(path)
	}
	site, err := a.site(ctx, n)
	if err != nil {
		return err
	}
	a.printf("%s\n", property32("KeyType")+scalar("IIsWebServer"))
	for _, p := range properties() {
		if p.name == "ServerAutoStart" && !site.Has("autostart") {
			continue // ENUM lists what is set at this node only
		}
		value, err := p.read(ctx, a.Env, n, site)
		if err != nil {
			return err
		}
		if value != nil {
			a.printValue(p.name, value, true)
		}
	}
	a.printf("[/%s/ROOT]\n\n", n.path)
	return nil
}

func (a *adsutil) enumService(ctx context.Context, n node) error {
	ids, err := a.Client.SiteIDs(ctx)
	if err != nil {
		return err
	}
	a.printf("%s\n", property32("KeyType")+scalar("IIsWebService"))
	for _, id := range ids {
		a.printf("[/%s/%d]\n", n.path, id)
	}
	a.printf("\n")
	return nil
}

func (a *adsutil) set(ctx context.Context, n node, name string, values []string) error {
	if _, err := a.nodeSite(ctx, n); err != nil {
		return err
	}
	p, ok := findProperty(name)
	switch {
	case !ok:
		return a.noProperty(name)
	case n.kind != siteNode:
		return a.notAllowed(name)
	case p.write == nil:
		err := a.failed(errAccessDenied, "Access is denied for the requested path or property.", "Error Trying To SET the Property: "+name)
		a.hint("%s cannot be set: caddy iis start and caddy iis stop change it, and so does ServerAutoStart", p.name)
		return err
	case !p.list && len(values) > 1:
		a.printf("Error: Wrong number of Args for the SET command\n")
		return exit(ExitUsage)
	}
	echo, err := p.echo(values)
	if err == nil {
		err = a.change(ctx, n, func(site *adminapi.SiteConfig) error { return p.write(site, values) })
	}
	if err != nil {
		return a.refused(n, name, err)
	}
	a.printf("%s%s\n", property32(name), echo)
	return nil
}

// change changes a site. What has nothing to change is no error in adsutil.
func (a *adsutil) change(ctx context.Context, n node, change func(*adminapi.SiteConfig) error) error {
	err := a.Client.ChangeSite(ctx, n.site, change)
	if errors.Is(err, adminapi.ErrDone) {
		return nil
	}
	if site, shown := a.Client.Site(ctx, n.site); err == nil && shown == nil {
		a.kept(site)
	}
	return err
}

// refused shows why a change was refused. Errors that are no refusals, such as
// that no server is running, are none of adsutil's.
func (a *adsutil) refused(n node, name string, err error) error {
	var said *adminapi.Error
	var invalid *invalidValueError
	switch {
	case errors.Is(err, adminapi.ErrNoSite):
		return a.noObject(n.path)
	case errors.As(err, &said):
		return a.failed(errInvalidArgument, said.Message, "Error Trying To SET the Property: "+name)
	case errors.As(err, &invalid):
		return a.failed(errInvalidArgument, invalid.Error(), "Error Trying To SET the Property: "+name)
	}
	return err
}

func (a *adsutil) delete(ctx context.Context, n node, name string) error {
	site, err := a.nodeSite(ctx, n)
	if err != nil {
		return err
	}
	p, ok := findProperty(name)
	switch {
	case !ok:
		return a.noProperty(name)
	case n.kind != siteNode:
		return a.notAllowed(name)
	case p.remove == nil:
		return a.failed(errAccessDenied, "Access is denied for the requested path or property.", "Error Trying To DELETE the Property: "+name)
	}
	if value, err := p.read(ctx, a.Env, n, site); err != nil {
		return err
	} else if value == nil {
		return a.notSet(name)
	}
	if err := a.change(ctx, n, p.remove); err != nil {
		return a.refused(n, name, err)
	}
	a.printf("deleted property \"%s\"\n", name)
	return nil
}

func (a *adsutil) deleteSite(ctx context.Context, n node) error {
	err := a.Client.RemoveSite(ctx, n.site)
	var said *adminapi.Error
	switch {
	case errors.Is(err, adminapi.ErrNoSite):
		return a.noObject(n.path)
	case errors.As(err, &said):
		return a.failed(errInvalidArgument, said.Message, "Error Trying To DELETE the Object: "+n.path)
	case err != nil:
		return err
	}
	a.printf("deleted path \"%s\"\n", n.path)
	return nil
}
