#!/bin/sh
# After the installation, and after an update: the account, its folder, and the
# folder of the configuration. Nothing is started at the first installation: the
# configuration is not there yet.
set -e

if ! getent group caddy >/dev/null; then
	groupadd --system caddy
fi
if ! getent passwd caddy >/dev/null; then
	useradd --system --gid caddy --home-dir /var/lib/caddy --no-create-home --shell /usr/sbin/nologin caddy
fi
mkdir -p -m 0700 /var/lib/caddy
chown caddy:caddy /var/lib/caddy
chgrp caddy /etc/caddy
# Debian hands the version before over, RPM counts installations.
first=false
case "$1" in
configure) [ -n "${2:-}" ] || first=true ;;
1) first=true ;;
esac
# Who deletes the file, for caddy-api.service, has none, also after an update.
if $first && ! [ -e /etc/caddy/Caddyfile ]; then
	install -m 0640 -g caddy /usr/share/caddy-iis/Caddyfile /etc/caddy/Caddyfile
elif [ -e /etc/caddy/Caddyfile ]; then
	chgrp caddy /etc/caddy/Caddyfile
	# RPM removes Caddy's own package after this, and its Caddyfile with it: posttrans.sh
	# brings it back.
	if [ "$1" = 1 ]; then
		cp -p /etc/caddy/Caddyfile /etc/caddy/Caddyfile.kept
	fi
fi

# The removal of Debian's and Caddy's own package masks the units, whose place this one takes.
if command -v deb-systemd-helper >/dev/null; then
	deb-systemd-helper unmask caddy.service >/dev/null || true
	deb-systemd-helper unmask caddy-api.service >/dev/null || true
fi

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if ! $first; then
		systemctl try-restart caddy.service caddy-api.service
	fi
fi
