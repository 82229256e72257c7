#!/bin/sh
# Builds the wheel of what is committed, and checks it: in an empty environment a game is made,
# tested and played with it. `deploy/release.sh PYTHON`; the wheel is in dist/.
set -eu
python=$1
version=$(sed -n 's/^version = //p' setup.cfg)
fail() { echo "tickstorm: $1" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed"
grep -q "^## $version" CHANGELOG.md || fail "CHANGELOG.md says nothing of $version"
grep -q "\"version\": \"$version\"" clients/js/package.json || fail "clients/js/package.json is of another version"
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git archive HEAD | tar -x -C "$source"
rm -rf dist
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist "$source"
wheel=$(ls dist/*.whl)
WHEEL=$PWD/$wheel "$python" -m pytest -q tests/test_wheel.py
sha256sum "$wheel"
if grep -q "^## $version (unreleased)" CHANGELOG.md; then
    echo "tickstorm: CHANGELOG.md calls $version unreleased: give it its date, then \`git tag v$version\`"
else
    echo "tickstorm: \`git tag v$version\` marks what this wheel was made of"
fi
