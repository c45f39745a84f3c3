#!/bin/bash
# Announces what this machine lacks for the tests on real networks (tests/net) and installs it, when it is root on Debian or
# Ubuntu. Exit code 0: everything is there; 77: something is missing and was not installed.
set -euo pipefail

missing=()
have() { command -v "$1" >/dev/null; }
have ip || missing+=(iproute2)
have nft || missing+=(nftables)
have python3 || missing+=(python3)
{ have unshare && have nsenter && have setpriv; } || missing+=(util-linux)
[ ${#missing[@]} -eq 0 ] && exit 0

echo "The tests on real networks need: ${missing[*]}" >&2
if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
  echo "SKIPPED: install them with your system's package manager, then run this again" >&2
  exit 77
fi
apt() { env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >/dev/null; }
echo "Installing ${missing[*]} ..." >&2
if ! apt install -y --no-install-recommends "${missing[@]}" 2>/dev/null; then
  # A machine that never fetched the lists of packages knows none.
  apt update || echo "apt-get update failed: trying to install all the same" >&2
  apt install -y --no-install-recommends "${missing[@]}" || { echo "SKIPPED: apt-get could not install ${missing[*]}" >&2; exit 77; }
fi
echo "Done." >&2
