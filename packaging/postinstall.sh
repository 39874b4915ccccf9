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
chgrp caddy /etc/caddy /etc/caddy/Caddyfile

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# An update: Debian hands the version before over, RPM counts installations.
	if [ "$1" = configure ] && [ -n "${2:-}" ] || [ "$1" = 2 ]; then
		systemctl try-restart caddy.service caddy-api.service
	fi
fi
