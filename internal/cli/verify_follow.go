package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRedirects is after how many redirects browsers give up.
const maxRedirects = 20

// loop tells whether redirects lead back to where they began, or do not end. They are
// followed as long as they stay at this server, and set no cookie, with which the next
// answer may be another.
func (r *run) loop(ctx context.Context, c *Comparison) []Reason {
	at, got := c, c.Got
	seen := map[string]bool{c.url().String(): true}
	for range maxRedirects {
		target := got.redirect(at)
		if target == nil {
			return nil
		}
		if seen[target.String()] {
			return []Reason{{ClassBroken, "redirects in a circle", "redirects lead in a circle, from " + c.url().String() + " to " + target.String()}}
		}
		seen[target.String()] = true
		if at = r.at(target, c.Address); at == nil {
			return nil
		}
		got = r.try(ctx, at, at.Address, at.Protocol)
	}
	return []Reason{{ClassBroken, "redirects do not end", fmt.Sprintf("%d redirects in a row, from %s on", maxRedirects, c.url())}}
}

// url is what a browser has in its address bar.
func (c *Comparison) url() *url.URL {
	u, err := url.ParseRequestURI(c.Path)
	if err != nil {
		u = &url.URL{Path: c.Path}
	}
	_, port, _ := net.SplitHostPort(c.Endpoint)
	u.Scheme, u.Host = c.Scheme, net.JoinHostPort(c.Host, port)
	return u
}

// redirect is where a browser goes on by itself, nil if it stays.
func (a Answer) redirect(c *Comparison) *url.URL {
	followed := []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}
	if a.Location == "" || a.cookie || !slices.Contains(followed, a.Status) {
		return nil
	}
	u, err := c.url().Parse(a.Location)
	if err != nil {
		return nil
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	u.Host, u.Fragment = net.JoinHostPort(strings.ToLower(u.Hostname()), port), ""
	if u.Path == "" {
		u.Path = "/"
	}
	return u
}

// at is a connection for a URL like one that is made anyway, at the same address of the
// machine if there is one; nil if the URL leads elsewhere.
func (r *run) at(u *url.URL, near string) (found *Comparison) {
	host, _, _ := net.SplitHostPort(near)
	for _, c := range r.byOrigin[origin(u)] {
		here, _, _ := net.SplitHostPort(c.Address)
		if found == nil || here == host {
			c.Path, found = u.RequestURI(), &c
		}
		if here == host {
			break
		}
	}
	return found
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// byOrigin are connections with names, as they are before any is made.
func byOrigin(list []*Comparison) map[string][]Comparison {
	index := make(map[string][]Comparison)
	for _, c := range list {
		if c.named && c.Protocol != protocolH3 {
			key := origin(c.url())
			index[key] = append(index[key], *c)
		}
	}
	return index
}

// pages tells whether the other server has another page there. What is not the same twice
// says nothing, as its title may.
func (r *run) pages(ctx context.Context, c *Comparison) []Reason {
	other, got := *c.Against, c.Got
	if got.Status/100 != 2 || other.Status != got.Status || other.BodySHA256 == got.BodySHA256 {
		return nil
	}
	otherAgain, gotAgain := r.try(ctx, c, c.other, protocolH1), r.try(ctx, c, c.Address, c.Protocol)
	switch {
	case other.Title != got.Title && otherAgain.Title == other.Title && gotAgain.Title == got.Title:
		return []Reason{{ClassDiffers, "the other server has another page", fmt.Sprintf("the other server has a page with the title %q, this one with %q", other.Title, got.Title)}}
	case otherAgain.BodySHA256 == other.BodySHA256 && gotAgain.BodySHA256 == got.BodySHA256:
		return []Reason{{ClassDiffers, "the other server sends another body", "the other server sends another body with " + statusText(got.Status)}}
	}
	return nil
}
