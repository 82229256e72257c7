#!/bin/sh
# Brings the TypeScript compiler for the tests of `tickstorm types` and of the SDK's types, into a
# cache folder, and prints where it is. Without npm those tests are skipped, with the reason.
set -u
version=5.9.3
folder="${XDG_CACHE_HOME:-$HOME/.cache}/tickstorm/typescript-$version"
tsc="$folder/node_modules/typescript/bin/tsc"
if [ ! -f "$tsc" ]; then
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        echo "tickstorm: no npm here, so the TypeScript tests will be skipped (Debian: apt install npm)" >&2
        exit 1
    fi
    echo "tickstorm: installing TypeScript $version for the tests" >&2
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-audit --no-fund --silent "typescript@$version" >&2 || exit 1
fi
echo "$tsc"
