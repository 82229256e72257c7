"""Resume tokens: who this was, in which room, until when; signed, and secret to its owner."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
from pathlib import Path
from typing import NamedTuple

import msgpack

LIFETIME_S = 24 * 3600
SIGNATURE_BYTES = 16
KEY_BYTES = 32


class BadToken(ValueError):
    """Not a token that this key has signed."""


class Claim(NamedTuple):
    """What a token says. `expires`: seconds since the epoch."""

    room: str
    session: str
    expires: float


def sign(claim: Claim, key: bytes) -> str:
    """The token for a claim."""
    body = msgpack.packb(list(claim))
    return base64.urlsafe_b64encode(_signature(body, key) + body).decode()


def read(token: str, key: bytes) -> Claim:
    """The claim of a token; the caller looks at `expires`. Raises BadToken.

    >>> read(sign(Claim("arena", "a1", 5.0), b"k" * 32), b"k" * 32)
    Claim(room='arena', session='a1', expires=5.0)
    """
    try:
        raw = base64.urlsafe_b64decode(token)
    except (binascii.Error, ValueError) as error:
        raise BadToken("not base64") from error
    signature, body = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(body, key)):
        raise BadToken("wrong signature")
    return Claim(*msgpack.unpackb(body))


def derived_key(key: bytes, purpose: str) -> bytes:
    """A key of its own for each kind of token, so that none passes for another."""
    return hmac.digest(key, purpose.encode(), "sha256")


def drain_token(key: bytes) -> str:
    """What proves that somebody runs this node: who can read its key may drain it."""
    return derived_key(key, "drain").hex()


class BadKey(OSError):
    """The file of the signing key holds none that could be trusted."""


def load_key(secret: str, data_dir: str) -> bytes:
    """The signing key: from the configured secret, or kept in a file only we can read.

    Raises BadKey if that file is too short: with a key that others can guess, anyone could
    forge tokens.
    """
    if secret:
        return hashlib.sha256(secret.encode()).digest()
    path = Path(data_dir) / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _make_key(path)
    kept = path.read_bytes()
    if len(kept) < KEY_BYTES:
        raise BadKey(
            f"{path} is no signing key: it has {len(kept)} bytes, not {KEY_BYTES} or more. "
            "Delete it, and a new one is made; players then can't resume old sessions"
        )
    return hashlib.sha256(kept).digest()


def _make_key(path: Path) -> None:
    """Write a new key, whole or not at all; one that another process made meanwhile stays."""
    fresh = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:SIGNATURE_BYTES]
