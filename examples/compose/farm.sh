#!/bin/sh
# Runs the farm in containers, adds a site by SQL, asks both nodes for it, and takes
# all away again:
#
#   sh examples/compose/farm.sh
#
# ../farm/local.sh does the same without containers.
set -eu
cd "$(dirname "$0")"

compose() { docker compose -f farm.yaml "$@"; }
trap 'compose --profile tools down --volumes' EXIT
compose up --build --detach --wait

PANEL="docker compose -f farm.yaml run --rm --no-deps -T panel"
export PANEL
sh ../farm/try 1001 bakery.customers.example.com /srv/sites/bakery 127.0.0.1:8081 127.0.0.1:8082
