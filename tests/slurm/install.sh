#!/usr/bin/env bash
# Install Slurm for tests/slurm where that is possible: root, apt, and a package source. Anything else is no
# failure: the tests then skip and say why.
set -u
if command -v slurmctld >/dev/null && command -v munged >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Slurm is not installed (needs root and apt-get): tests/slurm will skip" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || true
apt-get install -qq -y --no-install-recommends slurm-wlm munge >/dev/null ||
    echo "Slurm could not be installed: tests/slurm will skip" >&2
exit 0
