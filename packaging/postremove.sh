#!/bin/sh
# After the package has gone. The account, /var/lib/caddy and the Caddyfile stay, also where
# Debian purges: certificates, keys and configurations are not ours to delete, and Caddy's
# own package may have taken our place.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
