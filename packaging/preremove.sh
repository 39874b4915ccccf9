#!/bin/sh
# Before the package goes, not before an update: Debian says "remove", RPM
# counts the installations that are left.
set -e

case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		# A unit that an administrator has masked holds up no removal.
		systemctl --no-reload disable --now caddy.socket caddy.service caddy-api.service || true
	fi
	;;
esac
