#!/bin/sh
# Checks the types of the SDK, the pages and the examples, as far as comments declare them. Scripts
# that stand in a page are taken out into build/pages, with the page's own line numbers.
set -eu
if ! tsc=$(sh tests/typescript.sh); then
    [ -z "${CI:-}" ] || exit 1
    echo "tickstorm: JavaScript was not checked" >&2
    exit 0
fi
mkdir -p build/pages
for page in examples/*/index.html; do
    awk '/^<\/script>/ { inside = 0 } { print inside ? $0 : "" } /^<script type="module">/ { inside = 1 }' \
        "$page" > "build/pages/$(basename "$(dirname "$page")").js"
done
exec node "$tsc" -p clients
