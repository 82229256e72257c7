#!/bin/sh
# Brings the real socket.io-client and its msgpack parser for the tests of the Socket.IO door, into
# a cache folder, and prints where it is. Without npm those tests are skipped, with the reason.
set -u
client=4.8.1 parser=3.0.2
folder="${XDG_CACHE_HOME:-$HOME/.cache}/tickstorm/socketio-$client-$parser"
if [ ! -f "$folder/node_modules/socket.io-msgpack-parser/package.json" ]; then
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        echo "tickstorm: no npm here, so the Socket.IO tests will be skipped (Debian: apt install npm)" >&2
        exit 1
    fi
    echo "tickstorm: installing socket.io-client $client for the tests" >&2
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-audit --no-fund --silent \
        "socket.io-client@$client" "socket.io-msgpack-parser@$parser" >&2 || exit 1
fi
echo "$folder"
