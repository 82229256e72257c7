"""The log: as lines for people or as JSON for machines, with rooms, players and connections in
fields of their own; and never with a secret in it.

A line of JSON: ``{"time": "2026-01-31T12:00:00.123Z", "level": "info", "logger": "tickstorm.room",
"message": "…", "room": "…", "player": "…", "connection": 7, "address": "…", "error": "…"}``;
`room` to `error` only where there are any.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime

from ..config import Config

FIELDS = ("room", "player", "connection", "address")
"""What a call may say in `extra`, or in its message as in ``"room %s opens"``: that is enough."""

_CONVERSION = re.compile(r"(?:(\b[a-z]+) )?%(?:\.?\d*[sdrfg]|%)")

HIDDEN = "[secret]"

LEAST = 8
"""A configured secret shorter than this is not looked for in messages: it would be everywhere."""

_BEARER = re.compile(r"(?i)(bearer\s+|[?&#](?:token|ticket|key)=)[\w.~+/=-]{8,}")
_SIGNED = re.compile(r"\b[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\b")
"""Tokens as they stand in requests, and as `lobby/tokens.py` writes them."""


class Redacting(logging.Formatter):
    """Takes secrets out of what another formatter wrote."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]):
        super().__init__()
        self._inner = inner
        self._secrets = [secret for secret in secrets if len(secret) >= LEAST]

    def format(self, record: logging.LogRecord) -> str:
        return redacted(self._inner.format(record), self._secrets)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """
    >>> redacted("GET /admin/#token=abcdefghijkl by hunter22", ["hunter22"])
    'GET /admin/#token=[secret] by [secret]'
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _BEARER.sub(lambda found: found.group(1) + HIDDEN, text)
    return _SIGNED.sub(HIDDEN, text)


class Json(logging.Formatter):
    """One line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        row: dict[str, object] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        said = _said(record)
        for name in FIELDS:
            value = getattr(record, name, None) or said.get(name)
            if value not in (None, ""):
                row[name] = value
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def _said(record: logging.LogRecord) -> dict[str, object]:
    """Fields that stand in the message itself.

    >>> _said(logging.makeLogRecord({"msg": "%d%% of room %s", "args": (7, "tag")}))
    {'room': 'tag'}
    """
    if not isinstance(record.args, tuple):
        return {}
    found = [m.group(1) for m in _CONVERSION.finditer(record.msg) if not m.group(0).endswith("%%")]
    return {name: value for name, value in zip(found, record.args, strict=False) if name in FIELDS}


class Lines(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(name)s: %(message)s")


def secrets_of(config: Config) -> list[str]:
    """Every option that is one, if it is set; and the password of a directory."""
    found = [getattr(config, o.name) for o in fields(Config) if o.metadata.get("secret")]
    _, at, _ = config.directory.rpartition("@")
    if at:
        found.append(config.directory.rpartition("@")[0].rpartition(":")[2])
    return [secret for secret in found if secret]


def begin(config: Config) -> None:
    """Set the process' log up."""
    handler = logging.StreamHandler()
    inner = Json() if config.log_format == "json" else Lines()
    handler.setFormatter(Redacting(inner, secrets_of(config)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log_level.upper())
    logging.getLogger("websockets").setLevel(logging.WARNING)
