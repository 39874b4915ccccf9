package iismanager

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestRefusalsAreBounded: a flood has some lines a minute and the number of those that
// were left out, and does not hide what is refused for another reason.
func TestRefusalsAreBounded(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	l := &refusals{logger: zap.New(core)}
	r := httptest.NewRequest(http.MethodPost, "http://attacker.example/"+strings.Repeat("x", 5000)+"?token=secret", nil)
	r.Host = strings.Repeat("h", 5000)
	r.Header.Set("Authorization", "Basic secret")
	const flood = 1000
	for range flood {
		l.note(r, visitor{}, reasonUnknown)
	}
	l.note(r, visitor{"alice", "authenticated"}, reasonCrossSite)
	if got := logs.Len(); got != refusalsPerMinute+1 {
		t.Fatalf("%d lines", got)
	}
	for _, line := range logs.All() {
		fields := line.ContextMap()
		size := 0
		for _, value := range fields {
			text, _ := value.(string)
			if size += len(text); strings.Contains(text, "secret") {
				t.Errorf("it tells a secret: %v", fields)
			}
		}
		if line.Level != zapcore.WarnLevel || size > 1000 {
			t.Errorf("%s, %d bytes", line.Level, size)
		}
	}
	last := logs.All()[refusalsPerMinute].ContextMap()
	if last["user"] != "alice" || last["known_by"] != "authenticated" || last["reason"] != reasonCrossSite || last["remote"] != r.RemoteAddr || last["method"] != http.MethodPost {
		t.Errorf("%v", last)
	}
	now := time.Now()
	if _, ok := l.allow(reasonUnknown, now.Add(59*time.Second)); ok {
		t.Error("a line too many in the minute")
	}
	if leftOut, ok := l.allow(reasonUnknown, now.Add(61*time.Second)); !ok || leftOut != flood-refusalsPerMinute+1 {
		t.Errorf("%v, %d left out", ok, leftOut)
	}
	if leftOut, ok := l.allow(reasonUnknown, now.Add(61*time.Second)); !ok || leftOut != 0 {
		t.Errorf("%v, %d left out twice", ok, leftOut)
	}
}
