#!/bin/sh
# Brings programs where that can be done without asking: as root on a Debian-like system.
# `packages.sh PROGRAM[:PACKAGE] …` exits 1 and says what is missing where it can't.
set -u
missing=
for entry in "$@"; do
    program=${entry%%:*}
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing="$missing ${entry##*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "tickstorm: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # A package that starts a service of its own would take ports that nobody asked for.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    # shellcheck disable=SC2086
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
fi
echo "tickstorm: missing here:$missing (Debian: apt install$missing)" >&2
exit 1
