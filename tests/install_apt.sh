#!/usr/bin/env bash
# Install the Debian packages that the tests need: Slurm with its accounting, for
# tests/slurm/cluster.sh, metamath, which decides proofs, and Chromium with its driver, which opens
# pages. Further packages are named as arguments. If all are there, it says nothing. Root gets the
# missing ones installed; their services are not started. Other users are told which tests are
# skipped.
set -euo pipefail

packages=(
    slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
    slurmdbd slurm-wlm-mysql-plugin mariadb-server
    libnuma1 strace
    metamath metamath-databases
    chromium chromium-driver
    "$@"
)
missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "tests that need them are skipped: there is no apt-get to install ${missing[*]}"
    exit 0
elif [[ $(id -u) != 0 ]]; then
    echo "tests that need them are skipped: as root, run apt-get install ${missing[*]}"
    exit 0
fi

work=$(mktemp -d)
policy=/usr/sbin/policy-rc.d
trap 'rm -rf "$work"' EXIT
if [[ ! -e $policy ]]; then # each package asks this script whether its service may start: no
    trap 'rm -rf "$work" "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
options=(-qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3)
if ! { apt-get update "${options[@]}" &&
    apt-get install "${options[@]}" --yes --no-install-recommends "${missing[@]}"; } \
    >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    echo "tests/install_apt.sh: apt-get could not install ${missing[*]}; see above" >&2
    exit 1
fi
