package certsel

import (
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// The pause after a failed order, for one name.
const (
	firstPause = 30 * time.Second
	lastPause  = time.Hour
)

// maxWords bounds how many bytes of an error are remembered and told.
const maxWords = 500

// words are what is left of an error that somebody else has worded.
type words string

// Error implements error.
func (w words) Error() string { return string(w) }

// inWords returns an error with the words of another one, of bounded length and without
// what a terminal would obey: an authority answers what it likes, for each of very many
// names.
func inWords(err error) error {
	var told strings.Builder
	for _, r := range err.Error() {
		if !unicode.IsPrint(r) {
			r = ' '
		}
		if told.Len()+utf8.RuneLen(r) > maxWords {
			told.WriteString("...")
			break
		}
		told.WriteRune(r)
	}
	return words(told.String())
}

// keepFailures is how long a failure is remembered after the pause that it caused.
const keepFailures = 24 * time.Hour

// failures remembers what could not be obtained lately, by subject, and when the next
// attempt may be. It is kept over loads of the configuration, and whether or not the
// certificate is in memory: neither is a reason to ask an authority more often.
type failures struct {
	mu        sync.Mutex
	bySubject map[string]*failure
}

// failure is the last one of a subject.
type failure struct {
	err    error // in words
	at     time.Time
	count  int       // orders in a row that were followed by a pause
	again  time.Time // of the next order
	looked time.Time // when storage was last asked for what another node may have obtained
}

func (f *failures) of(subject string) *failure {
	known := f.bySubject[subject]
	if known == nil {
		if f.bySubject == nil {
			f.bySubject = make(map[string]*failure)
		}
		known = new(failure)
		f.bySubject[subject] = known
	}
	return known
}

// note remembers a failure that somebody else decides about.
func (f *failures) note(subject string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.of(subject)
	known.err, known.at = inWords(err), time.Now()
}

// pause remembers a failure after which there is no attempt for a while, each time
// twice as long.
func (f *failures) pause(subject string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, now := f.of(subject), time.Now()
	known.err, known.at, known.looked = inWords(err), now, now
	known.again = now.Add(min(firstPause<<min(known.count, 20), lastPause))
	known.count++
}

// clear forgets the failures of a subject that has been obtained.
func (f *failures) clear(subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.bySubject, subject)
}

// get returns what is known of a subject, the zero value if it has not failed.
func (f *failures) get(subject string) failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.bySubject[subject]; known != nil {
		return *known
	}
	return failure{}
}

// all returns what is known of all subjects.
func (f *failures) all() map[string]failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := make(map[string]failure, len(f.bySubject))
	for subject, known := range f.bySubject {
		found[subject] = *known
	}
	return found
}

// rests reports whether a subject has failed and has to wait. Now and then it has not:
// another node may have obtained the certificate, which storage must be asked for.
func (f *failures) rests(subject string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, now := f.bySubject[subject], time.Now()
	if known == nil || !now.Before(known.again) {
		return false
	}
	if now.Sub(known.looked) < firstPause {
		return true
	}
	known.looked = now
	return false
}

// forget drops failures whose pause ended before a time.
func (f *failures) forget(before time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for subject, known := range f.bySubject {
		if known.at.Before(before) && known.again.Before(before) {
			delete(f.bySubject, subject)
		}
	}
}
