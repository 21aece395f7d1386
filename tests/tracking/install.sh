#!/usr/bin/env bash
# Install PostgreSQL for tests/tracking where that is possible: root, apt, and a package source. Anything else is no
# failure: the tests then skip and say why. The server that Debian starts by itself is not used: tests start their own.
set -u
if ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || command -v pg_ctl >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "PostgreSQL is not installed (needs root and apt-get): its tests will skip" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || true
apt-get install -qq -y --no-install-recommends postgresql >/dev/null ||
    echo "PostgreSQL could not be installed: its tests will skip" >&2
exit 0
