#!/bin/sh
# A farm of two Caddys on this machine, without containers: makes the schema, runs two
# nodes with the Caddyfile beside this file, adds a site by SQL, asks both for it, and
# ends them. It needs caddy, psql, openssl and curl, and a PostgreSQL with an empty
# database:
#
#   createdb sites
#   ADMIN=postgres://admin@localhost/sites NODES=postgres://iis@localhost/sites \
#       DATABASE=postgres://panel@localhost/sites sh examples/farm/local.sh
#
# The nodes are at 127.0.0.1 and 127.0.0.2, so that both have the same ports: HTTP_PORT,
# HTTPS_PORT and READY_PORT. On macOS, `sudo ifconfig lo0 alias 127.0.0.2` comes first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${ADMIN:?the connection string of somebody who may make roles}"
: "${NODES:?the connection string of the role iis}"
: "${DATABASE:?the connection string of the role panel}"
HTTP_PORT=${HTTP_PORT:-8080} HTTPS_PORT=${HTTPS_PORT:-8443} READY_PORT=${READY_PORT:-8404} ADMIN_PORT=${ADMIN_PORT:-2019}
export DATABASE HTTP_PORT HTTPS_PORT

work=$(mktemp -d)
nodes=
finish() {
	for node in $nodes; do kill "$node" 2>/dev/null || true; done
	for node in $nodes; do wait "$node" || true; done
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

caddy iis sites init postgres "$ADMIN"
psql --no-psqlrc --quiet "$ADMIN" -v ON_ERROR_STOP=1 -f "$here/roles.sql"
sh "$here/certificate" "$work"

for address in 127.0.0.1 127.0.0.2; do
	# The Caddyfile of a node, at an address, ports and folders of this try.
	sed -e "s|^	iis {|&\\
		listen $address|" -e "s|allow {\$|&\\
				ports $HTTP_PORT $HTTPS_PORT|" -e "s|\*:443|*:$HTTPS_PORT|" -e "s|^:8404 {|http://:$READY_PORT {\\
	bind $address|" \
		-e "s|/etc/caddy/|$work/|g" -e "s|/srv/caddy-storage|$work/storage|" -e "s|/srv/sites|$here/sites|" \
		"$here/Caddyfile" >"$work/$address"
	DATABASE=$NODES CADDY_ADMIN=$address:$ADMIN_PORT XDG_DATA_HOME=$work/data-$address XDG_CONFIG_HOME=$work/data-$address \
		caddy run --config "$work/$address" --adapter caddyfile >"$work/log-$address" 2>&1 &
	nodes="$nodes $!"
done
for address in 127.0.0.1 127.0.0.2; do
	waited=0
	until curl -fsS --max-time 5 -o /dev/null "http://$address:$READY_PORT/" 2>/dev/null; do
		waited=$((waited + 1))
		[ "$waited" -lt 300 ] || { cat "$work/log-$address" >&2; exit 1; }
		sleep 0.1
	done
done

sh "$here/try" 1001 bakery.customers.example.com "$here/sites/bakery" "127.0.0.1:$HTTP_PORT" "127.0.0.2:$HTTP_PORT"
