"""Fuzzing of what reads bytes from outside: messages, frames, journals, tokens, settings.

A target takes any bytes and returns; it raises only what is a finding. `tests/corpus/TARGET/` holds
inputs that once reached new code, and every finding that was mended. `make test` runs them all, and
some thousand mutations of them (test_fuzz.py). ``python -m tests.fuzz TARGET --seconds 60``
searches on, guided by coverage (atheris), and adds what it finds to the corpus: `make fuzz`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack

CORPUS = Path(__file__).parent / "corpus"

EXTREME = b"\x00\x01\x7f\x80\x90\xc0\xc1\xc4\xcb\xcf\xd3\xdb\xdd\xdf\xff"
"""Ends of the range of numbers, and bytes that mean something else to msgpack."""


def messages(data: bytes) -> None:
    """What a client says in a crowd."""
    from tickstorm.protocol import wire

    with contextlib.suppress(wire.ProtocolViolation):
        message = wire.decode(data)
        assert type(message[0]) is int


def moves(data: bytes) -> None:
    """Inputs and calls of an object room, up to the values that a rule would get."""
    from tests.wild_room import GAME
    from tickstorm.protocol import objects

    with contextlib.suppress(ValueError):
        _, raw = objects.decode_move(data)
        GAME.input.convert(objects.decode_values(raw)) if GAME.input else None
    with contextlib.suppress(ValueError):
        name, values, request = objects.decode_call(data)
        assert type(name) is str and type(values) is list
        assert request is None or type(request) is int


def declarations(data: bytes) -> None:
    """A server's declaration and a snapshot under it, as bots and Python clients read them."""
    from clients.bots import wire

    with contextlib.suppress(wire.WireError):
        message = wire.decode(data)
        if message[0] == wire.WELCOME:
            wire.KnownWorld(wire.check_welcome(message[1])["declaration"])
        elif message[0] == wire.SNAPSHOT:
            _bots_world().apply(message[1], message[2])


def states(data: bytes) -> None:
    """STATE and PATCH of an object room, as the Python client reads them."""
    from tickstorm.client.state import StateTree, WireError, unpack

    tree = StateTree(_wild_declaration())
    with contextlib.suppress(WireError):
        for message in _pieces(data):
            decoded = unpack(message)
            if isinstance(decoded, list) and decoded and decoded[0] == 25:
                tree.apply_state(decoded)
            else:
                tree.apply_patch(decoded)


def journal(data: bytes) -> None:
    """A segment of any bytes."""
    from tickstorm.records.journal import format, segments

    for folder in _folder(format.MAGIC * (data[:1] == b"\0") + data[1:]):
        (path,) = segments(folder)
        for record in format.read(path):
            assert isinstance(record, list | format.Damage)
        with contextlib.suppress(format.JournalError):
            assert isinstance(format.read_one(path), list)
        list(format.skim(path))


def records(data: bytes) -> None:
    """A segment whose records are whole, but say anything: of another build, or forged."""
    import game
    from tickstorm.records import ledger
    from tickstorm.records.journal import format, verify

    framed = [format.frame(piece) for piece in _pieces(data)]
    for folder in _folder(format.MAGIC + b"".join(framed)):
        with contextlib.suppress(ValueError):
            verify(game, folder)
        ledger.stories(folder)
        ledger.rooms_of(folder)


def tokens(data: bytes) -> None:
    """A resume token, and what one says that was signed."""
    from tickstorm.lobby import tokens as module

    with contextlib.suppress(module.BadToken):
        module.read(data.decode("latin-1"), b"k" * 32)


def settings(data: bytes) -> None:
    """The body of `POST /api/rooms`, and a room's settings as the directory keeps them."""
    from tests.arena import GAMES
    from tickstorm.config import load
    from tickstorm.lobby import settings as module

    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    with contextlib.suppress(ValueError, TypeError, KeyError):
        module.load(body)
    if isinstance(body, dict):
        with contextlib.suppress(module.SettingsError):
            module.parse(body, load({}), GAMES)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (messages, moves, declarations, states, journal, records, tokens, settings)
}


# ------------------------------------------------------------------ what targets share


@functools.cache
def _wild_declaration() -> dict:
    from tests.wild_room import GAME

    return GAME.declaration()


def _bots_world():
    from clients.bots.wire import KnownWorld
    from game import schema

    return KnownWorld(schema.declaration())


def _pieces(data: bytes) -> Iterator[bytes]:
    """Bytes as a few pieces, each behind two bytes with its length."""
    while len(data) > 2:
        size = int.from_bytes(data[:2], "little")
        yield data[2 : 2 + size]
        data = data[2 + size :]


def _folder(segment: bytes) -> Iterator[Path]:
    """A folder with this one segment, for a turn of a loop."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        folder = Path(name)
        (folder / "000001.journal").write_bytes(segment)
        yield folder


def corpus(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Another input, near this one: bytes changed, cut, doubled, or numbers made extreme."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(5):
            case 0 if at < len(out):
                out[at] = chance.randrange(256)
            case 1:
                out[at:at] = chance.randbytes(chance.randint(1, 4))
            case 2:
                del out[at : at + chance.randint(1, 4)]
            case 3 if at < len(out):
                out[at] = chance.choice(EXTREME)
            case _:
                out[at:at] = out[at : at + chance.randint(1, 16)]
    return bytes(out)


# ------------------------------------------------------------------ searching on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="how long, for each target")
    chosen = parser.parse_args()
    if chosen.target == "all":
        for name in TARGETS:
            command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(chosen.seconds)]
            subprocess.run(command, check=True)
        return

    try:
        import atheris
    except ImportError:
        raise SystemExit("atheris can't be had for this Python; 3.11 to 3.13 have it") from None

    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["tickstorm", "clients", "game"]):
        TARGETS[chosen.target](msgpack.packb([0]))  # imports what it needs
    found, parent = tempfile.mkdtemp(), os.getpid()
    try:
        arguments = [sys.argv[0], found, str(CORPUS / chosen.target), "-max_len=4096",
                     "-timeout=10", f"-max_total_time={chosen.seconds}",
                     "-print_final_stats=1", "-verbosity=0",
                     f"-artifact_prefix={CORPUS / chosen.target}/finding-"]  # fmt: skip
        child = os.fork()  # libFuzzer ends its process
        if child == 0:
            atheris.Setup(arguments, TARGETS[chosen.target])
            atheris.Fuzz()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        grown = _merge(chosen.target, Path(found))
    finally:
        if os.getpid() == parent:
            shutil.rmtree(found)
    print(f"{chosen.target}: {grown} inputs are new to the corpus")
    if status:
        raise SystemExit(f"{chosen.target}: a finding, see tests/corpus/{chosen.target}/finding-…")


def _merge(target: str, found: Path, most: int = 60, longest: int = 1024) -> int:
    """Take over what reached new code: the short ones, and a bounded number in all."""
    folder = CORPUS / target
    grown = 0
    for path in sorted(found.iterdir(), key=lambda path: path.stat().st_size):
        here = sum(1 for _ in folder.iterdir())
        if here < most and path.stat().st_size <= longest and not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
            grown += 1
    return grown


if __name__ == "__main__":
    main()
