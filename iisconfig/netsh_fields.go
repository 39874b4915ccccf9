package iisconfig

import (
	"maps"
	"strings"
)

// netshField is one field of a record after the application id.
type netshField struct {
	label string // in English and lower case
	flag  func(*CertificateRecord) **bool
	text  func(*CertificateRecord) *string
}

// netshFieldList is in the order of the output. Each version of Windows has added
// some at the end.
var netshFieldList = []netshField{
	{"certificate store name", nil, func(r *CertificateRecord) *string { return &r.StoreName }},
	{"verify client certificate revocation", func(r *CertificateRecord) **bool { return &r.VerifyRevocation }, nil},
	{"verify revocation using cached client certificate only", func(r *CertificateRecord) **bool { return &r.VerifyCachedOnly }, nil},
	{"usage check", func(r *CertificateRecord) **bool { return &r.UsageCheck }, nil},
	{"revocation freshness time", nil, func(r *CertificateRecord) *string { return &r.RevocationFreshness }},
	{"url retrieval timeout", nil, func(r *CertificateRecord) *string { return &r.URLRetrievalTimeout }},
	{"ctl identifier", nil, func(r *CertificateRecord) *string { return &r.CTLIdentifier }},
	{"ctl store name", nil, func(r *CertificateRecord) *string { return &r.CTLStoreName }},
	{"ds mapper usage", func(r *CertificateRecord) **bool { return &r.DSMapper }, nil},
	{"negotiate client certificate", func(r *CertificateRecord) **bool { return &r.NegotiateClientCert }, nil},
	{"reject connections", func(r *CertificateRecord) **bool { return &r.RejectConnections }, nil},
	{"disable http2", func(r *CertificateRecord) **bool { return &r.DisableHTTP2 }, nil},
	{"disable quic", func(r *CertificateRecord) **bool { return &r.DisableQUIC }, nil},
	{"disable tls1.2", func(r *CertificateRecord) **bool { return &r.DisableTLS12 }, nil},
	{"disable tls1.3", func(r *CertificateRecord) **bool { return &r.DisableTLS13 }, nil},
	{"disable ocsp stapling", func(r *CertificateRecord) **bool { return &r.DisableOCSPStapling }, nil},
	{"enable token binding", func(r *CertificateRecord) **bool { return &r.EnableTokenBinding }, nil},
	{"log extended events", func(r *CertificateRecord) **bool { return &r.LogExtendedEvents }, nil},
	{"disable legacy tls versions", func(r *CertificateRecord) **bool { return &r.DisableLegacyTLS }, nil},
	{"enable session ticket", func(r *CertificateRecord) **bool { return &r.EnableSessionTicket }, nil},
}

// netshWords are what flags have for values, in the languages that are known. "Not
// Set" means what is built in.
var netshWords = map[string]int{
	"enabled": 1, "disabled": -1, "not set": 0, "set": 1, "": 0, "(null)": 0,
	"aktiviert": 1, "deaktiviert": -1, "nicht festgelegt": 0,
	"activé": 1, "désactivé": -1, "activée": 1, "désactivée": -1, "non défini": 0,
	"habilitado": 1, "deshabilitado": -1, "no establecido": 0,
	"desabilitado": -1, "desativado": -1, "ativado": 1, "não definido": 0,
	"abilitato": 1, "disabilitato": -1, "abilitata": 1, "disabilitata": -1, "non impostato": 0,
	"включено": 1, "отключено": -1, "включен": 1, "отключен": -1, "не задано": 0,
	"有効": 1, "無効": -1, "未設定": 0,
	"启用": 1, "已启用": 1, "禁用": -1, "已禁用": -1, "未设置": 0,
	"啟用": 1, "已啟用": 1, "停用": -1, "已停用": -1, "未設定值": 0,
	"사용": 1, "사용 안 함": -1, "설정되지 않음": 0,
	"włączone": 1, "wyłączone": -1, "ingeschakeld": 1, "uitgeschakeld": -1, "povoleno": 1, "zakázáno": -1,
}

// netshFields reads the fields after the application id. If one label is in English,
// all are, and one that is not known is new; else the place tells the field.
func (b *builder) netshFields(name string, rec *CertificateRecord, lines []netshLine) {
	byLabel := make(map[string]*netshField, len(netshFieldList))
	for i := range netshFieldList {
		byLabel[netshFieldList[i].label] = &netshFieldList[i]
	}
	english, words := false, netshWords
	for _, l := range lines {
		english = english || byLabel[strings.ToLower(l.label)] != nil
	}
	if !english {
		words = b.netshWordsOf(name, rec, lines)
	}
	place := 0
	for i, l := range lines {
		if l.value == "" && l.indent <= lines[0].indent && i >= 4 {
			b.netshExtended(rec, lines[i:])
			return
		}
		var f *netshField
		switch {
		case english:
			f = byLabel[strings.ToLower(l.label)]
		case place < len(netshFieldList):
			f = &netshFieldList[place]
		}
		place++
		src := Source{File: name, Line: l.number}
		if f == nil {
			b.rep.info(CodeUnknown, src, "the field %q is not understood", shorten(l.label))
			continue
		}
		b.netshValue(src, rec, f, l, words)
	}
}

// netshWordsOf learns the words of another language, or of another code page, from the
// record itself. Four flags have the same values on nearly every server: revocation and
// usage are checked, the cache alone is not enough for it, and the DS mapper is off. If
// two words stand just so, they mean that.
func (b *builder) netshWordsOf(name string, rec *CertificateRecord, lines []netshLine) map[string]int {
	if len(lines) < 9 {
		return netshWords
	}
	on, off := strings.ToLower(lines[1].value), strings.ToLower(lines[2].value)
	_, knowsOn := netshWords[on]
	_, knowsOff := netshWords[off]
	if knowsOn || knowsOff || on == off || strings.ToLower(lines[3].value) != on || strings.ToLower(lines[8].value) != off {
		return netshWords
	}
	b.rep.info(CodeUnknown, Source{File: name, Line: lines[1].number},
		"the words %q and %q of the record %s are taken for enabled and disabled, as they stand where these mostly do",
		shorten(lines[1].value), shorten(lines[2].value), rec.Key)
	words := maps.Clone(netshWords)
	words[on], words[off] = 1, -1
	return words
}

func (b *builder) netshValue(src Source, rec *CertificateRecord, f *netshField, l netshLine, words map[string]int) {
	if f.text != nil {
		*f.text(rec) = notNull(l.value)
		return
	}
	word, known := words[strings.ToLower(l.value)]
	if !known {
		b.rep.warn(CodeUnknown, src, "look up the setting "+f.label+" of the record "+rec.Key,
			"the value %q of %q is in a language that is not known", shorten(l.value), shorten(l.label))
		return
	}
	if word != 0 {
		v := word > 0
		*f.flag(rec) = &v
	}
}

// netshExtended keeps what follows "Extended Properties:", a heading that comes once
// for each group of them: parameters of HTTP/2.
func (b *builder) netshExtended(rec *CertificateRecord, lines []netshLine) {
	for _, l := range lines {
		if l.value != "" {
			rec.ExtendedPropertyValues = append(rec.ExtendedPropertyValues, Pair{Name: l.label, Value: l.value})
		}
	}
}
