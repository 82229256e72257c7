#!/bin/sh
# Brings Chromium for the browser tests where that can be done without asking:
# as root on a Debian-like system. Elsewhere those tests are skipped, with the reason.
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "tickstorm: installing Chromium for the browser tests"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0
fi
echo "tickstorm: no Chromium here, so the browser tests will be skipped (Debian: apt install chromium)"
