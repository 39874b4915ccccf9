package config_test

import (
	"reflect"
	"testing"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/iislog"
)

// TestW3CLogOver: what a site says is not lost to what stands above it.
func TestW3CLogOver(t *testing.T) {
	above := &config.W3CLog{Folder: "/a", Fields: []string{"date"}, Period: "none", MaxSize: 10}
	field := []iislog.CustomField{{Name: "X", Source: iislog.RequestHeader, Header: "X"}}
	for _, c := range []struct {
		own, above, want *config.W3CLog
	}{
		{nil, above, above},
		{nil, nil, nil},
		{&config.W3CLog{Off: true}, above, nil},
		{&config.W3CLog{Folder: "/b"}, nil, &config.W3CLog{Folder: "/b"}},
		{&config.W3CLog{Folder: "/b"}, above, &config.W3CLog{Folder: "/b", Fields: []string{"date"}, Period: "none", MaxSize: 10}},
		{&config.W3CLog{CustomFields: field}, above, &config.W3CLog{Folder: "/a", CustomFields: field, Period: "none", MaxSize: 10}},
		{&config.W3CLog{Period: "hourly"}, above, &config.W3CLog{Folder: "/a", Fields: []string{"date"}, Period: "hourly"}},
		{&config.W3CLog{LocalTime: true}, above, &config.W3CLog{Folder: "/a", Fields: []string{"date"}, LocalTime: true}},
		{&config.W3CLog{MaxSize: 5}, above, &config.W3CLog{Folder: "/a", Fields: []string{"date"}, MaxSize: 5}},
	} {
		if got := c.own.Over(c.above); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v over %+v: got %+v, want %+v", c.own, c.above, got, c.want)
		}
	}
	if _, err := (&config.W3CLog{MaxSize: 5}).Over(above).Layout(); err == nil {
		t.Error("max_size without period is taken")
	}
}
