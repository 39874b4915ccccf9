package iislog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// Record is what a line tells of a request. Empty texts and addresses that are
// not valid are written as "-".
type Record struct {
	// Time is when the request ended; it is written in UTC.
	Time time.Time
	// Site is the site's id, written as W3SVC<id>; 0 for none.
	Site uint32
	// Computer is the name of the computer.
	Computer string
	// Server is the address that the client came to.
	Server netip.AddrPort
	Method string
	// Stem is the path of the URL without escapes, Query what is behind the
	// question mark, as the client sent it.
	Stem, Query string
	// User is the name of the user that was authenticated.
	User string
	// Client is the client's IP address.
	Client string
	// Version is the protocol, such as HTTP/1.1.
	Version string
	// Host is the host that the request named.
	Host string
	// Request and Response are values of headers, in the order of
	// Format.RequestHeaders and Format.ResponseHeaders.
	Request, Response []string
	// Status is that of HTTP, SubStatus that of IIS, Win32 the error of Windows.
	Status, SubStatus, Win32 int
	// Sent and Received count bytes.
	Sent, Received int64
	// Taken is how long the request took; it is written in milliseconds.
	Taken time.Duration
}

// The errors of Windows that are told.
const (
	// Win32OK says that there was none.
	Win32OK = 0
	// Win32NameDeleted is ERROR_NETNAME_DELETED: the client went away.
	Win32NameDeleted = 64
	// Win32Aborted is ERROR_CONNECTION_ABORTED: the server ended the connection.
	Win32Aborted = 1236
)

// EndOfLine ends each line, as IIS writes it.
const EndOfLine = "\r\n"

// AppendHeader appends the lines that a file begins with.
func (f *Format) AppendHeader(dst []byte, at time.Time) []byte {
	dst = append(dst, "#Software: caddy-iis"+EndOfLine+"#Version: 1.0"+EndOfLine+"#Date: "...)
	dst = at.UTC().AppendFormat(dst, time.DateTime)
	dst = append(dst, EndOfLine...)
	dst = append(dst, f.header...)
	return append(dst, EndOfLine...)
}

// AppendLine appends the line of a request, with its end.
func (f *Format) AppendLine(dst []byte, r *Record) []byte {
	at := r.Time.UTC()
	for i := range f.fields {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = f.fields[i].append(dst, r, at, i == 0)
	}
	return append(dst, EndOfLine...)
}

// append appends the value of a field.
func (fd *field) append(dst []byte, r *Record, at time.Time, first bool) []byte {
	switch fd.kind {
	case kindDate:
		return appendDate(dst, at)
	case kindTime:
		return appendTime(dst, at)
	case kindSiteName:
		return appendSiteName(dst, r.Site)
	case kindServerIP:
		if !r.Server.Addr().IsValid() {
			return append(dst, '-')
		}
		return r.Server.Addr().AppendTo(dst)
	case kindPort:
		if r.Server.Port() == 0 {
			return append(dst, '-')
		}
		return strconv.AppendUint(dst, uint64(r.Server.Port()), 10)
	case kindStatus:
		return strconv.AppendInt(dst, int64(r.Status), 10)
	case kindSubStatus:
		return strconv.AppendInt(dst, int64(r.SubStatus), 10)
	case kindWin32Status:
		return strconv.AppendInt(dst, int64(r.Win32), 10)
	case kindSent:
		return strconv.AppendInt(dst, r.Sent, 10)
	case kindReceived:
		return strconv.AppendInt(dst, r.Received, 10)
	case kindTaken:
		return strconv.AppendInt(dst, max(0, r.Taken.Milliseconds()), 10)
	}
	return appendText(dst, fd.text(r), first)
}

// text returns the value of a field that is a text.
func (fd *field) text(r *Record) string {
	switch fd.kind {
	case kindComputerName:
		return r.Computer
	case kindMethod:
		return r.Method
	case kindStem:
		return r.Stem
	case kindQuery:
		return r.Query
	case kindUser:
		return r.User
	case kindClientIP:
		return r.Client
	case kindVersion:
		return r.Version
	case kindHost:
		return r.Host
	case kindRequestHeader:
		return nth(r.Request, fd.header)
	case kindResponseHeader:
		return nth(r.Response, fd.header)
	}
	return ""
}

func nth(values []string, i int) string {
	if i >= len(values) {
		return ""
	}
	return values[i]
}

func appendDate(dst []byte, at time.Time) []byte {
	year, month, day := at.Date()
	dst = appendDigits(dst, year/100)
	dst = appendDigits(dst, year%100)
	dst = appendDigits(append(dst, '-'), int(month))
	return appendDigits(append(dst, '-'), day)
}

func appendTime(dst []byte, at time.Time) []byte {
	hour, minute, second := at.Clock()
	dst = appendDigits(dst, hour)
	dst = appendDigits(append(dst, ':'), minute)
	return appendDigits(append(dst, ':'), second)
}

// appendDigits appends a number of two digits.
func appendDigits(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10%10), byte('0'+n%10))
}

func appendSiteName(dst []byte, id uint32) []byte {
	if id == 0 {
		return append(dst, '-')
	}
	return strconv.AppendUint(append(dst, "W3SVC"...), uint64(id), 10)
}

// MaxText bounds a text in a line, in bytes; of a longer one the beginning is
// written, and "..." behind it.
const MaxText = 4096

// appendText appends a text that may be a client's, as one field that is not
// empty and holds no blank.
func appendText(dst []byte, s string, first bool) []byte {
	if s == "" {
		return append(dst, '-')
	}
	cut := len(s) > MaxText
	if cut {
		s = wholeRunes(s[:MaxText])
	}
	if first && s[0] == '#' {
		dst, s = append(dst, "%23"...), s[1:]
	}
	for len(s) > 0 {
		plain := 0
		for plain < len(s) && s[plain] > ' ' && s[plain] < 0x7f {
			plain++
		}
		dst, s = append(dst, s[:plain]...), s[plain:]
		if len(s) > 0 {
			dst, s = appendRune(dst, s)
		}
	}
	if cut {
		dst = append(dst, "..."...)
	}
	return dst
}

// wholeRunes leaves a character out that was cut at the end.
func wholeRunes(s string) string {
	for i := 1; i < utf8.UTFMax && i <= len(s); i++ {
		if tail := s[len(s)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRuneInString(tail) {
				return s[:len(s)-i]
			}
			break
		}
	}
	return s
}

// appendRune appends what stands for the first character of a text: itself if it
// can be seen, "+" if it is a blank or a control character, else its bytes
// behind percent signs.
func appendRune(dst []byte, s string) ([]byte, string) {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size == 1:
		dst = appendPercent(dst, s[0])
	case unicode.IsSpace(r), unicode.IsControl(r):
		dst = append(dst, '+')
	case unicode.IsPrint(r):
		dst = append(dst, s[:size]...)
	default: // marks of direction, separators of lines and the like
		for i := range size {
			dst = appendPercent(dst, s[i])
		}
	}
	return dst, s[size:]
}

func appendPercent(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}
