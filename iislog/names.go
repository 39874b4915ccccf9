package iislog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Period is how often a new file begins.
type Period uint8

// The periods, the default first.
const (
	Daily Period = iota
	Hourly
	Weekly
	Monthly
	// None never begins a new file, but where one is as large as it may be.
	None
)

var periodWords = []string{Daily: "daily", Hourly: "hourly", Weekly: "weekly", Monthly: "monthly", None: "none"}

// PeriodWords lists the words of the periods, the default first.
func PeriodWords() []string { return slices.Clone(periodWords) }

// String returns the word of a period.
func (p Period) String() string { return periodWords[p] }

// ParsePeriod reads the word of a period. The empty word is daily.
func ParsePeriod(word string) (Period, error) {
	if word == "" {
		return Daily, nil
	}
	if i := slices.Index(periodWords, word); i >= 0 {
		return Period(i), nil
	}
	return 0, fmt.Errorf("period: unknown word %q: expected one of %s", word, strings.Join(periodWords, ", "))
}

// Folder returns the name of a site's folder.
func Folder(site uint32) string { return "W3SVC" + strconv.FormatUint(uint64(site), 10) }

// customSuffix ends the name of files with custom fields, as from IIS 8.5 on.
const customSuffix = "_x"

// FileName returns the name of the file for requests of a time, whose zone
// decides about day and hour: u_ex and yymmdd for a day, yymmddhh for an hour,
// yymmww for a week of the month, yymm for a month. With period None it is
// u_extend and a number from 1.
func (p Period) FileName(at time.Time, number int, custom bool) string {
	name := []byte("u_ex")
	if p == None {
		name = strconv.AppendInt(append(name, "tend"...), int64(max(number, 1)), 10)
	} else {
		name = appendDigits(appendDigits(name, at.Year()%100), int(at.Month()))
	}
	switch p {
	case Weekly:
		name = appendDigits(name, weekOfMonth(at))
	case Daily, Hourly:
		name = appendDigits(name, at.Day())
	}
	if p == Hourly {
		name = appendDigits(name, at.Hour())
	}
	if custom {
		name = append(name, customSuffix...)
	}
	return string(append(name, ".log"...))
}

// weekOfMonth counts weeks, which begin with Sunday, from 1. The first one of a
// month may be short.
func weekOfMonth(at time.Time) int {
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC) // weekdays are the same everywhere
	return (at.Day()-1+int(first.Weekday()))/7 + 1
}

// Span returns the time for which requests are in the same file as one of a
// time, from the first moment to that of the next file. With period None it has
// no end: both are zero.
func (p Period) Span(at time.Time) (from, to time.Time) {
	year, month, day := at.Date()
	begin := func(y int, m time.Month, d int) time.Time { return beginOfDay(y, m, d, at.Location()) }
	switch p {
	case Hourly:
		// Zones have offsets of parts of an hour: cut what the clock shows.
		_, minute, second := at.Clock()
		from = at.Add(-time.Duration(minute)*time.Minute - time.Duration(second)*time.Second - time.Duration(at.Nanosecond()))
		return from, from.Add(time.Hour)
	case Daily:
		return begin(year, month, day), begin(year, month, day+1)
	case Weekly:
		sunday := day - int(at.Weekday())
		from, to = begin(year, month, sunday), begin(year, month, sunday+7)
		if first := begin(year, month, 1); from.Before(first) {
			from = first
		}
		if next := begin(year, month+1, 1); to.After(next) {
			to = next
		}
		return from, to
	case Monthly:
		return begin(year, month, 1), begin(year, month+1, 1)
	}
	return time.Time{}, time.Time{}
}

// beginOfDay returns the first moment of a day. Where clocks are changed at
// midnight, a day may have no midnight, and another one two.
func beginOfDay(year int, month time.Month, day int, zone *time.Location) time.Time {
	at := time.Date(year, month, day, 0, 0, 0, 0, zone)
	since, until := at.ZoneBounds()
	switch hour := at.Hour(); {
	case hour >= 12: // of the day before: the next thing that its clock shows is 1:00
		return until
	case hour > 0:
		return since
	case since.IsZero():
		return at
	}
	_, offset := at.Zone()
	_, before := since.Add(-1).Zone()
	if first := at.Add(-time.Duration(before-offset) * time.Second); before > offset && first.Before(since) {
		return first
	}
	return at
}
