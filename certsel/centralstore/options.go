package centralstore

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// Defaults of Options.
const (
	DefaultPoll    = 300 * time.Second
	DefaultMissTTL = 30 * time.Second
	DefaultTimeout = 2 * time.Second
	DefaultEntries = 10_000
	DefaultMisses  = 10_000
	DefaultRate    = 100
	DefaultBurst   = 1000
	DefaultLoads   = 1024
	DefaultRetry   = 10 * time.Second
)

// Format is a way how a certificate is kept in files.
type Format string

// The formats, in the order in which they are looked for.
const (
	PFX Format = ".pfx"
	P12 Format = ".p12"
	PEM Format = ".pem" // key in the same file, or in a .key file
	CRT Format = ".crt" // as PEM
)

// keyExtension is that of the private key of a certificate in PEM.
const keyExtension = ".key"

// Files is what a certificate is decoded from.
type Files struct {
	Format      Format
	Name        string // of the file, in full
	Certificate []byte
	Key         []byte // PEM and CRT: nil if the certificate's file holds it
}

// Decode makes a certificate out of its files. It is called on several
// goroutines at the same time, as many as Options.Decodes says. Stores have
// many copies of one certificate, one for each of its names: that they are
// held only once is for Decode to see to.
type Decode func(Files) (*tls.Certificate, error)

// Options bounds a store. Zero values mean the defaults.
type Options struct {
	// Poll is how often files in use are looked at for changes.
	Poll time.Duration

	// MissTTL is for how long a name without file is not looked for again.
	// It is at most Poll.
	MissTTL time.Duration

	// Timeout is how long a handshake waits, and how long one access to the
	// store may take.
	Timeout time.Duration

	// Retry is after how long the store is asked again for a file that could
	// not be read, if the certificate in use is from before. It is at most
	// Poll.
	Retry time.Duration

	// Settle is how long a changed file must stand still before it is read.
	Settle time.Duration

	// Formats are the formats to look for. Default: all.
	Formats []Format

	// Names lists the files that the certificate of a host may be in, the preferred
	// ones first. Its argument is the host, or the name of a wildcard as a central
	// store has it, such as _.example.com; a host whose name is international is asked
	// for in Unicode as well. Default: those of a central store, by Formats.
	Names func(base string) []FileName

	named bool // Names are the caller's

	// Entries is how many certificates are kept.
	Entries int

	// Misses is how many names without file are remembered.
	Misses int

	// Rate is how many names a second are looked for that have not been asked
	// for before, and Burst how many at once. Further ones have no file, as it
	// were. Names that had a file are not counted.
	Rate, Burst int

	// Loads is how many names are looked for at the same time.
	Loads int

	// Workers is how many accesses to the store run at the same time.
	Workers int

	// Decodes is how many certificates are decoded at the same time. The
	// default is one for each processor.
	Decodes int

	// MaxSize is the size in bytes above which a file is refused.
	MaxSize int64

	// Generation says in which generation what Decode depends on besides the
	// files is, such as a password: when it changes, files are decoded again
	// that have not changed themselves. It must not block. Default: there is
	// nothing else.
	Generation func() uint64

	// Changed is called when a certificate has taken the place of another one,
	// or is gone. It must not block.
	Changed func()

	// Report is told what an administrator should know. It must not block.
	Report func(Event)
}

func (o *Options) setDefaults() {
	set(&o.Poll, DefaultPoll)
	set(&o.MissTTL, DefaultMissTTL)
	o.MissTTL = min(o.MissTTL, o.Poll)
	set(&o.Timeout, DefaultTimeout)
	set(&o.Retry, DefaultRetry)
	o.Retry = min(o.Retry, o.Poll)
	set(&o.Settle, files.DefaultSettle)
	set(&o.Entries, DefaultEntries)
	set(&o.Misses, DefaultMisses)
	set(&o.Rate, DefaultRate)
	set(&o.Burst, DefaultBurst)
	set(&o.Loads, DefaultLoads)
	set(&o.Workers, files.DefaultWorkers)
	set(&o.Decodes, runtime.GOMAXPROCS(0))
	set(&o.MaxSize, files.DefaultMaxSize)
	if len(o.Formats) == 0 {
		o.Formats = []Format{PFX, P12, PEM, CRT}
	}
	if o.named = o.Names != nil; !o.named {
		o.Names = standardNames(o.Formats)
	}
	if o.Generation == nil {
		o.Generation = func() uint64 { return 0 }
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Report == nil {
		o.Report = func(Event) {}
	}
}

func set[T int | int64 | time.Duration](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

// ParseFormats checks the names of formats, with or without their dot.
func ParseFormats(names []string) ([]Format, error) {
	var formats []Format
	for _, name := range names {
		f := Format(name)
		if len(name) > 0 && name[0] != '.' {
			f = "." + f
		}
		switch {
		case !slices.Contains([]Format{PFX, P12, PEM, CRT}, f):
			return nil, fmt.Errorf("unknown format %q of certificate files: expected pfx, p12, pem or crt", name)
		case slices.Contains(formats, f):
			return nil, fmt.Errorf("format %q is named twice", name)
		}
		formats = append(formats, f)
	}
	return formats, nil
}
