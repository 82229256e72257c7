#!/bin/sh
# Checks the types of the SDK, the arena's page and the examples, as far as comments declare them.
set -eu
if ! tsc=$(sh tests/typescript.sh); then
    [ -z "${CI:-}" ] || exit 1
    echo "tickstorm: JavaScript was not checked" >&2
    exit 0
fi
exec node "$tsc" -p clients
