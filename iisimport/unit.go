package iisimport

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// unit is a unit of systemd for a program of the ASP.NET Core module.
type unit struct {
	name, description string
	folder            string // of the application, on this machine
	port              string
	core              *iisconfig.AspNetCore
	opts              Options
	argv              []string
	stopped           bool // IIS does not start it either
}

var (
	reWindowsVariable = regexp.MustCompile(`%[A-Za-z_][A-Za-z0-9_()]*%`)
	rePort            = regexp.MustCompile(`(?i)%(?:ASPNETCORE_PORT|HTTP_PLATFORM_PORT)%`)
	reCommand         = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
	reEnvironmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// program finds out what is started: a file of the application without .exe, or a program
// of the system of that name.
func (u *unit) program() error {
	words := append([]string{strings.Trim(u.core.ProcessPath, ` "`)}, windowsArguments(u.core.Arguments)...)
	switch {
	case words[0] == "":
		return errors.New("processPath does not say what is started")
	case !strings.HasPrefix(u.folder, "/") || !oneLineText(u.folder) || strings.HasSuffix(u.folder, `\`):
		return fmt.Errorf("its folder %q is none of this machine: add --map for it", u.folder)
	}
	for i, word := range words {
		if left := reWindowsVariable.FindString(rePort.ReplaceAllString(word, "")); left != "" {
			return fmt.Errorf("it needs the variable %s of Windows", left)
		}
		if !oneLineText(word) {
			return errors.New("it has an argument with control characters")
		}
		words[i] = u.here(word)
	}
	program := strings.TrimSuffix(words[0], path.Ext(words[0]))
	if !strings.EqualFold(path.Ext(words[0]), ".exe") {
		program = words[0]
	}
	if !strings.HasPrefix(program, "/") {
		program = strings.ToLower(program[strings.LastIndexAny(program, `\/`)+1:])
		if !reCommand.MatchString(program) {
			return fmt.Errorf("%q is no name of a program", program)
		}
	}
	if strings.ContainsAny(program, "$") {
		return fmt.Errorf("%q has a dollar sign, which systemd has no form for there", program)
	}
	u.argv = append([]string{program}, words[1:]...)
	return nil
}

// oneLineText tells whether a text is one line of UTF-8.
func oneLineText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// here translates a word that is a file of the application, or of a folder that --map has.
func (u *unit) here(word string) string {
	if strings.HasPrefix(word, `.\`) || strings.HasPrefix(word, "./") {
		return path.Join(u.folder, strings.ReplaceAll(word, `\`, "/"))
	}
	if at, ok := iisconfig.Translate(u.opts.Folders, word); ok {
		return at
	}
	return word
}

// windowsArguments splits a command line as programs of Windows do: a quote after 2n
// backslashes is one, after 2n+1 it is a text, and these are n backslashes.
func windowsArguments(line string) (words []string) {
	var sb strings.Builder
	quoted, word, slashes := false, false, 0
	for i := 0; i <= len(line); i++ {
		end := i == len(line)
		if !end && line[i] == '\\' {
			slashes++
			continue
		}
		if !end && line[i] == '"' {
			sb.WriteString(strings.Repeat(`\`, slashes/2))
			if slashes%2 == 1 {
				sb.WriteByte('"')
			} else {
				quoted = !quoted
			}
			word, slashes = true, 0
			continue
		}
		sb.WriteString(strings.Repeat(`\`, slashes))
		word, slashes = word || slashes > 0, 0
		switch {
		case end || !quoted && (line[i] == ' ' || line[i] == '\t'):
			if word {
				words = append(words, sb.String())
			}
			sb.Reset()
			word = false
		default:
			sb.WriteByte(line[i])
			word = true
		}
	}
	return words
}

// ownVariables say where the program listens. Those of the configuration meant IIS.
var ownVariables = []string{"ASPNETCORE_URLS", "ASPNETCORE_PORT", "ASPNETCORE_HTTP_PORTS", "ASPNETCORE_HTTPS_PORTS", "DOTNET_URLS", "URLS", "HTTP_PORTS", "HTTPS_PORTS", "HTTP_PLATFORM_PORT"}

// isOwn tells whether a variable says where the program listens.
func isOwn(name string) bool {
	return isOneOf(name, ownVariables) || strings.HasPrefix(strings.ToLower(name), "kestrel__endpoints__")
}

// environment writes the file with the environment, and returns what has no form in it, with
// the reasons in place of the values.
func (u *unit) environment() (text []byte, left []iisconfig.Pair) {
	for _, v := range u.core.Environment {
		name := strings.ReplaceAll(v.Name, ":", "__") // the same in configuration of .NET
		value := rePort.ReplaceAllString(v.Value, u.port)
		why := ""
		switch {
		case isOwn(name):
			why = "the unit says where the program listens"
		case !reEnvironmentName.MatchString(name):
			why = "it is no name of a variable here"
		case !environmentValue(value):
			why = "its value has control characters"
		case reWindowsVariable.MatchString(value):
			why = "its value has a variable of Windows in it"
		}
		if why != "" {
			left = append(left, iisconfig.Pair{Name: v.Name, Value: why})
			continue
		}
		text = append(text, environmentLine(name, value)...)
	}
	return text, left
}

// environmentValue tells whether a file with an environment can hold a value.
func environmentValue(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) && r != '\t' })
}

// environmentLine writes a variable as systemd reads it.
func environmentLine(name, value string) []byte {
	return []byte(name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + "\"\n")
}

func isOneOf(name string, names []string) bool {
	for _, other := range names {
		if strings.EqualFold(name, other) {
			return true
		}
	}
	return false
}

// specifiers are what systemd replaces in each value.
var specifiers = strings.NewReplacer("%", "%%")

// pathWord writes a path into a unit, where it may be one of several.
func pathWord(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(path) + `"`
}

// unitWord writes a word of a command line of systemd, which replaces variables there.
func unitWord(word string) string { return strings.ReplaceAll(pathWord(word), "$", "$$") }

// text writes the unit. Its settings are those of examples/systemd, but for what .NET needs:
// memory that it writes code to.
func (u *unit) text(environment bool) []byte {
	var sb strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&sb, format+"\n", args...) }
	words := []string{specifiers.Replace(u.argv[0])}
	if strings.ContainsAny(words[0], " \"'\\") {
		words[0] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(words[0]) + `"`
	}
	for _, word := range u.argv[1:] {
		words = append(words, unitWord(rePort.ReplaceAllString(word, u.port)))
	}
	home := "yes"
	if strings.HasPrefix(u.folder+"/", "/home/") || strings.HasPrefix(u.folder+"/", "/root/") {
		home = "read-only"
	}
	output := "null"
	if u.core.StdoutLog {
		output = "journal"
	}
	line("# Made from %s by: caddy iis import", commentText(u.core.Source.String()))
	line("[Unit]\nDescription=%s", strings.TrimRight(specifiers.Replace(u.description), `\`))
	line("After=network.target\nStartLimitIntervalSec=60\nStartLimitBurst=%d", cmp.Or(u.core.RapidFails, 10))
	line("\n[Service]\nType=exec\nDynamicUser=yes\nWorkingDirectory=%s", specifiers.Replace(u.folder))
	line("# It listens there and nowhere else, also if its own configuration says so, and believes who asks it there of the client.")
	line("Environment=ASPNETCORE_URLS=http://127.0.0.1:%s ASPNETCORE_PREFERHOSTINGURLS=true ASPNETCORE_FORWARDEDHEADERS_ENABLED=true HTTP_PLATFORM_PORT=%s HOME=%%S/%s", u.port, u.port, u.name)
	line("SocketBindAllow=tcp:%s\nSocketBindDeny=any", u.port)
	if environment {
		line("EnvironmentFile=%s/%s.env", EnvironmentFolder, u.name)
	}
	line("ExecStart=%s", strings.Join(words, " "))
	line("Restart=always\nTimeoutStartSec=%d\nTimeoutStopSec=%d", cmp.Or(u.core.StartupTimeLimit, 120), cmp.Or(u.core.ShutdownTimeLimit, 10))
	line("StandardOutput=%s\nStandardError=journal\nSyslogIdentifier=%s\nStateDirectory=%s\nStateDirectoryMode=0700", output, u.name, u.name)
	line("%s", hardening)
	line("ProtectHome=%s", home)
	if u.stopped {
		line("\n# It was stopped, and has no [Install] therefore: nothing starts it but systemctl start.")
	} else {
		line("\n[Install]\nWantedBy=multi-user.target")
	}
	return []byte(sb.String())
}

const hardening = `
# It writes to its state directory, which is its home. The rest it may read at most.
UMask=0077
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM`
