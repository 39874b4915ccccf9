package iishttp_test

import "testing"

// TestContentTypesHandlers: the first entry whose path, verb and resource fit has the request,
// also that of a default document.
func TestContentTypesHandlers(t *testing.T) {
	s := newSite(t, `
		root {root}
		iis_content_types {
			documents index.php index.html
			type .php text/plain
			type .aspx text/plain
			handler 404.4 /held/index.php
			handler 403.14 bare/* directory
			handler files static/* either GET HEAD
			handler files *.png file
			handler php *.php either GET HEAD POST
			handler 405 *.php
			handler 403 *.secret
			handler folders * directory PROPFIND
			handler worker /all/*
			handler worker *.aspx POST
			closed *.aspx *.zip
		}
		@named vars iis_script worker php folders
		reverse_proxy @named `+worker(t)+files+errorPage,
		"x.php", "dir.php/y.php", "A.Png", "static/a.html", "static/sub/index.html", "static/empty/", "static/a.aspx", "static/a.zip", "static/in/index.php", "bare/index.html", "p/index.php", "held/index.php",
		"q/index.html", "a.html", "all/a.png", "all/a.html", "a.secret", "x.aspx")
	s.check([][2]string{
		{"/x.php", "script /x.php"},
		{"/X.PHP/info", "script /X.PHP/info"},
		{"/dir.php/y.php", "script /dir.php/y.php"},
		{"/dir.php/y.php/z", "script /dir.php/y.php/z"},
		{"/dir.php/z", "405.0"}, // the script is none
		{"PUT /x.php", "405.0"},
		{"/no.php", "405.0"}, // not there: the next
		{"/no.php/x.php", "405.0"},
		{"/a.png", "A.Png"},
		{"/no.png", "404.0"},
		{"/a.png/", "404.0"},
		{"/all/A.PNG", "all/a.png"},
		{"/all/no.png", "script /all/no.png"},
		{"/all/a.png/x", "404.0"}, // path info of a file
		{"/all/a.html", "script /all/a.html"},
		{"POST /all/", "script /all/"},
		{"/static/a.html", "static/a.html"},
		{"/static/sub/", "static/sub/index.html"},
		{"/static/sub", "301 /static/sub/"},
		{"/static/empty/", "403.14"},
		{"/static/none/", "404.0"},
		{"/static/a.aspx", "404.4"},
		{"/static/a.zip", "404.4"},
		{"/static/in/", "static/in/index.php"}, // an entry of files comes first
		{"/bare/", "403.14"},
		{"/bare/index.html", "bare/index.html"},
		{"/p/", "script /p/index.php"},
		{"POST /p/", "script /p/index.php"},
		{"PUT /p/", "405.0"},
		{"/held/", "404.4"},
		{"/q/", "q/index.html"},
		{"PROPFIND /q", "script /q"},
		{"PROPFIND /a.html", "405.0"},
		{"/a.secret", "403.0"},
		{"/no.secret/y", "403.0"},
		{"POST /x.aspx", "script /x.aspx"},
		{"/x.aspx", "404.4"},
	})
}

// TestContentTypesHandlersPrefix: what is there is looked for below the prefix.
func TestContentTypesHandlersPrefix(t *testing.T) {
	s := newSite(t, `
		root {root}
		iis_content_types {
			prefix /app
			handler files * file
			handler worker *.x file
			handler 403 *.x directory
			handler files * directory
		}
		@named vars iis_script worker
		reverse_proxy @named `+worker(t)+files+errorPage, "a.html", "index.html", "d.x/b.html", "index.html")
	s.check([][2]string{
		{"/App/a.html", "a.html"},
		{"/app/", "index.html"},
		{"/app", "301 /app/"},
		{"/app/d.x", "403.0"},
		{"/app/d.x/b.html", "d.x/b.html"},
		{"/a.html", "404.0"},
		{"/d.x", "404.0"},
	})
}
