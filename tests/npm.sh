#!/bin/sh
# npm.sh PACKAGE VERSION: brings a package of npm's for the tests into a cache folder, and prints
# that folder. Without npm it says what is missing, and ends with 1.
set -u
package=$1 version=$2
folder="${XDG_CACHE_HOME:-$HOME/.cache}/tickstorm/$package-$version"
if [ ! -d "$folder/node_modules/$package" ]; then
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        echo "tickstorm: no npm here, so tests that need $package will be skipped (Debian: apt install npm)" >&2
        exit 1
    fi
    echo "tickstorm: installing $package $version for the tests" >&2
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-audit --no-fund --silent "$package@$version" >&2 || exit 1
fi
echo "$folder/node_modules/$package"
