#!/bin/sh
# How the Emperor starts a node (emperor-wrapper). uwsgi.ini asks the environment for PORT and
# others while it is read, which is before uWSGI applies a vassal's own `env` lines.
set -eu
while IFS= read -r line; do
    case $line in "env = "*) export "${line#env = }" ;; esac
done <"$2"
exec "${VIRTUAL_ENV:-.venv}/bin/uwsgi" "$@"
