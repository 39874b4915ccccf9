#!/bin/sh
# At the end of a transaction of RPM, in which Caddy's own package may have gone: RPM deletes
# its Caddyfile, or renames it to Caddyfile.rpmsave where it was changed. The script after
# the installation, which ran before that, has kept it.
set -e

if [ -e /etc/caddy/Caddyfile.kept ]; then
	if [ -e /etc/caddy/Caddyfile ]; then
		rm /etc/caddy/Caddyfile.kept
	else
		mv /etc/caddy/Caddyfile.kept /etc/caddy/Caddyfile
	fi
fi
