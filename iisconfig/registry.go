package iisconfig

import (
	"slices"
	"strconv"
	"strings"
)

// centralStoreKey is where IIS 8 and later keep the central certificate store.
const centralStoreKey = `\software\microsoft\iis\centralcertprovider`

// registry reads an export of the settings of the central certificate store. They
// are in no other file.
func (b *builder) registry(name string, text []byte) {
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		src := Source{File: name, Line: i + 1}
		if strings.HasPrefix(line, "[") {
			inside = strings.HasSuffix(strings.ToLower(strings.Trim(line, "[]")), centralStoreKey)
			if inside {
				b.centralStore().Source = src
			} else {
				b.rep.info(CodeIgnored, src, "the registry key %s is not one that is read", shorten(line))
			}
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !inside || !found {
			continue
		}
		b.registryValue(src, strings.ToLower(strings.Trim(key, `"`)), value)
	}
}

func (b *builder) registryValue(src Source, key, value string) {
	store := b.centralStore()
	var number uint64
	var err error
	if hex, ok := strings.CutPrefix(value, "dword:"); ok {
		number, err = strconv.ParseUint(hex, 16, 32)
	} else {
		value = strings.ReplaceAll(strings.ReplaceAll(strings.Trim(value, `"`), `\"`, `"`), `\\`, `\`)
	}
	switch key {
	case "enabled":
		store.Enabled = number != 0
	case "certstorelocation":
		store.Location = value
	case "username":
		store.UserName = value
	case "pollinginterval":
		store.PollingInterval = uint32(number)
	case "privatekeypassword":
		store.HasKeyPassword = value != ""
	case "password":
		// The account's, encrypted: of no use elsewhere.
	default:
		b.rep.info(CodeUnknown, src, "the registry value %s is not understood", shorten(key))
	}
	if err != nil {
		b.rep.warn(CodeBadValue, src, "", "the registry value %s has the value %q", key, shorten(value))
	}
}

func (b *builder) centralStore() *CentralStore {
	if b.server.CentralStore == nil {
		b.server.CentralStore = &CentralStore{}
	}
	return b.server.CentralStore
}

// centralStorePort notes a port whose record says that the central store serves it.
func (b *builder) centralStorePort(rec *CertificateRecord) {
	store := b.centralStore()
	store.Enabled = true
	if store.Source.File == "" {
		store.Source = rec.Source
	}
	if n, err := strconv.ParseUint(rec.Key, 10, 16); err == nil && !slices.Contains(store.Ports, uint16(n)) {
		store.Ports = append(store.Ports, uint16(n))
	}
}
