"""Resume tokens: only what this key has signed, and the key stays secret."""

from __future__ import annotations

import base64
import errno
import os
import stat

import msgpack
import pytest

from tickstorm.lobby import tokens
from tickstorm.lobby.tokens import BadToken, Claim

KEY = b"k" * 32
CLAIM = Claim("arena", "0123456789abcdef", 1.7e9)


def test_a_token_says_what_was_signed():
    assert tokens.read(tokens.sign(CLAIM, KEY), KEY) == CLAIM


def test_another_key_does_not_open_it():
    with pytest.raises(BadToken):
        tokens.read(tokens.sign(CLAIM, KEY), b"K" * 32)


def test_a_token_with_any_bit_flipped_is_refused():
    raw = base64.urlsafe_b64decode(tokens.sign(CLAIM, KEY))
    for bit in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadToken):
            tokens.read(base64.urlsafe_b64encode(forged).decode(), KEY)


@pytest.mark.parametrize(
    "token",
    ["", "x", "====", "A" * 21, "A" * 4000, "ünïcödé", "\0" * 30, "-_-_" * 20, "a b\nc" * 9,
     base64.urlsafe_b64encode(msgpack.packb(list(CLAIM))).decode()],
)  # fmt: skip
def test_what_was_never_a_token_is_refused(token):
    with pytest.raises(BadToken):
        tokens.read(token, KEY)


def test_a_token_cut_anywhere_is_refused():
    token = tokens.sign(CLAIM, KEY)
    for size in range(len(token)):
        with pytest.raises(BadToken):
            tokens.read(token[:size], KEY)


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    folder = tmp_path / "new" / "data"
    key = tokens.load_key("", str(folder))
    assert tokens.load_key("", str(folder)) == key
    assert len(key) == 32
    (file,) = folder.iterdir()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert tokens.load_key("", str(tmp_path / "other")) != key


def test_a_configured_secret_needs_no_file(tmp_path):
    key = tokens.load_key("correct horse", str(tmp_path / "none"))
    assert key == tokens.load_key("correct horse", str(tmp_path / "other"))
    assert key != tokens.load_key("battery staple", str(tmp_path / "none"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, 1, 31])
def test_a_key_that_is_too_short_is_refused(tmp_path, size):
    (tmp_path / "secret").write_bytes(bytes(size))
    with pytest.raises(tokens.BadKey, match="Delete it"):
        tokens.load_key("", str(tmp_path))


def test_a_disk_that_is_full_at_the_first_start_leaves_no_key_behind(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            tokens.load_key("", str(tmp_path))
    assert not list(tmp_path.iterdir())
    assert tokens.load_key("", str(tmp_path)) == tokens.load_key("", str(tmp_path))
