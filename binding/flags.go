package binding

import (
	"fmt"
	"strconv"
	"strings"
)

// Flags are the sslFlags of a binding as IIS 8 and later write them in
// applicationHost.config. The two lowest bits choose the kind of TLS record, the
// others are settings of that record.
type Flags uint16

// The bits that IIS 10 knows.
const (
	FlagSNI          Flags = 1  // the record is name:port, for clients that send SNI
	FlagCentralStore Flags = 2  // the certificate comes from the central store
	FlagNoHTTP2      Flags = 4  // HTTP/2 is off
	FlagNoOCSP       Flags = 8  // OCSP stapling is off
	FlagNoQUIC       Flags = 16 // HTTP/3 is off
	FlagNoTLS13      Flags = 32 // TLS 1.3 over TCP is off
	FlagNoLegacyTLS  Flags = 64 // TLS versions before 1.2 are off
)

// FlagReject says that the record refuses the handshakes that it is chosen for.
// It is not one of the sslFlags: netsh has it as reject=enable, and no
// configuration writes it as a number.
const FlagReject Flags = 1 << 15

// kindBits choose the kind of record, settingBits are settings of the record, of
// which sslSettings stand among the sslFlags.
const (
	kindBits    = FlagSNI | FlagCentralStore
	sslSettings = FlagNoHTTP2 | FlagNoOCSP | FlagNoQUIC | FlagNoTLS13 | FlagNoLegacyTLS
	settingBits = sslSettings | FlagReject
)

var flagNames = []struct {
	flag Flags
	name string
}{
	{FlagSNI, "SNI"},
	{FlagCentralStore, "central store"},
	{FlagNoHTTP2, "no HTTP/2"},
	{FlagNoOCSP, "no OCSP stapling"},
	{FlagNoQUIC, "no QUIC"},
	{FlagNoTLS13, "no TLS 1.3"},
	{FlagNoLegacyTLS, "no legacy TLS"},
}

// Validate refuses bits that no version of IIS gives a meaning to.
func (f Flags) Validate() error {
	unknown := f &^ (kindBits | sslSettings)
	if unknown == 0 {
		return nil
	}
	known := make([]string, len(flagNames))
	for i, n := range flagNames {
		known[i] = fmt.Sprintf("%d %s", n.flag, n.name)
	}
	return fmt.Errorf("sslFlags %d: unknown bits %d; known are %s", uint16(f), uint16(unknown), strings.Join(known, ", "))
}

// String lists the bits by name, such as "1 (SNI)".
func (f Flags) String() string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	number := strconv.Itoa(int(f))
	if len(names) == 0 {
		return number
	}
	return number + " (" + strings.Join(names, ", ") + ")"
}

// rejects reports whether handshakes are refused.
func (f Flags) rejects() bool { return f&FlagReject != 0 }

// kind is the kind of TLS record that a binding with these flags uses.
func (f Flags) kind() RecordKind {
	switch {
	case f&FlagCentralStore != 0:
		return RecordStore
	case f&FlagSNI != 0:
		return RecordHostnamePort
	default:
		return RecordIPPort
	}
}
