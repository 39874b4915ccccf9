package binding

// Rule is a row of table D1 (certificates) or D2 (sites), see the package
// documentation. The zero Rule is no row.
type Rule uint8

// The rows of table D1 and table D2.
const (
	D1_1 Rule = iota + 1
	D1_2
	D1_3
	D1_4
	D1_5
	D1_6
	D1_7
	D1_8
	D2_0
	D2_1
	D2_2
	D2_3
	D2_4
	D2_5
	D2_6
	D2_7
	D2_8
)

var ruleNames = [...]string{
	0:    "no rule",
	D1_1: "D1 row 1: local address and port",
	D1_2: "D1 row 2: server name",
	D1_3: "D1 row 3: wildcard server name",
	D1_4: "D1 row 4: scoped central store",
	D1_5: "D1 row 5: central store",
	D1_6: "D1 row 6: any IPv6 address",
	D1_7: "D1 row 7: any address",
	D1_8: "D1 row 8: no certificate",
	D2_0: "D2 row 0: invalid host",
	D2_1: "D2 row 1: strong wildcard",
	D2_2: "D2 row 2: address and host",
	D2_3: "D2 row 3: host",
	D2_4: "D2 row 4: address and wildcard host",
	D2_5: "D2 row 5: wildcard host",
	D2_6: "D2 row 6: address without host",
	D2_7: "D2 row 7: any host",
	D2_8: "D2 row 8: no site",
}

// String names the row, such as "D1 row 2: server name".
func (r Rule) String() string {
	if int(r) < len(ruleNames) {
		return ruleNames[r]
	}
	return "unknown rule"
}

// MarshalText writes what String returns.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// byAddress reports whether a row of table D1 looks at the address alone, so
// that it also serves names nobody configured.
func (r Rule) byAddress() bool { return r == D1_1 || r == D1_6 || r == D1_7 }
