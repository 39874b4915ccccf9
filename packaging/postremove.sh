#!/bin/sh
# After the package has gone. The account and /var/lib/caddy stay, also where
# Debian purges: certificates, keys and the saved configuration are not ours to
# delete.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
