#!/bin/sh
# Brings nginx and openssl for the test of TLS where that can be done without asking: as root
# on a Debian-like system. Elsewhere that test is skipped, with the reason.
set -u
PATH=$PATH:/usr/sbin
command -v nginx >/dev/null && command -v openssl >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "tickstorm: installing nginx for the test of TLS"
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # as a program, not as a service
    apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light openssl >/dev/null && exit 0
fi
echo "tickstorm: no nginx here, so the test of TLS will be skipped (Debian: apt install nginx openssl)"
