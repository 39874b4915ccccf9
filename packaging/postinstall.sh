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
# Who deletes the file, for caddy-api.service, has none, also after an update.
if [ -e /etc/caddy/Caddyfile ]; then
	chgrp caddy /etc/caddy/Caddyfile
fi

# The removal of Debian's and Caddy's own package masks the units, whose place this one takes.
if command -v deb-systemd-helper >/dev/null; then
	deb-systemd-helper unmask caddy.service >/dev/null || true
	deb-systemd-helper unmask caddy-api.service >/dev/null || true
fi

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# An update: Debian hands the version before over, RPM counts installations.
	if [ "$1" = configure ] && [ -n "${2:-}" ] || [ "$1" = 2 ]; then
		systemctl try-restart caddy.service caddy-api.service
	fi
fi
