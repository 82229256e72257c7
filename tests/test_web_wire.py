"""The page's codec against golden bytes, the server's own encoders and the bots' decoder."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgpack
import numpy as np
import pytest

import game
from clients.bots import wire as bots
from tests.arena import LAYOUT
from tests.crowd_views import DECLARATION, KINDS, Fake, Viewer, encode_for
from tickstorm.protocol import wire as server
from tickstorm.replication.history import KindHistory
from tickstorm.replication.interest import Grid

pytest_plugins = ["tests.browser"]

GOLDEN = Path(__file__).parent / "golden"

INPUT = {"target": 70_000, "ack": 69_990, "seq": 513}
INPUT |= {"aim": 1023, "move": 64, "buttons": 5, "view_delay": 32}
LONG = "Ünïcode ☄ " * 12

# File name: the call in wire.js, the bots' bytes, what the server must read.
CLIENT_MESSAGES = {
    "hello": (
        'w.pack([w.HELLO, w.PROTOCOL_VERSION, 0, "Ada", null, {}])',
        bots.encode_hello("Ada"),
        [1, 1, 0, "Ada", None, {}],
    ),
    "hello_resume": (
        'w.pack([w.HELLO, w.PROTOCOL_VERSION, 0xdeadbeef, "Zoë", "t0", {spectate: true}])',
        bots.encode_hello("Zoë", "t0", 0xDEADBEEF, spectate=True),
        [1, 1, 0xDEADBEEF, "Zoë", "t0", {"spectate": True}],
    ),
    "input": (
        f"new w.InputEncoder({json.dumps(game.declaration()[2])})"
        f".encode({json.dumps(INPUT)}, {json.dumps(INPUT)})",
        bots.encode_input(**INPUT),
        [2, bytes.fromhex("70110100 66110100 0102 ff03 40 05 20 00")],
    ),
    "chat": ('w.encodeChat("gg")', bots.encode_chat("gg"), [3, "gg"]),
    "chat_long": (
        f"w.encodeChat({json.dumps(LONG)})",
        bots.encode_chat(LONG),
        [3, LONG],
    ),
    "ping": ("w.pack([w.PING, 1234.5])", bots.encode_ping(1234.5), [4, 1234.5]),
    "leave": ("w.pack([w.LEAVE])", bots.encode_leave(), [5]),
    "sync": ("w.pack([w.SYNC])", bots.encode_sync(), [6]),
    "look_ship": ("w.encodeLook(300)", bots.encode_look(300), [7, 300]),
    "look_place": ("w.encodeLook(1.5, -2.25)", bots.encode_look(1.5, -2.25), [7, 1.5, -2.25]),
}

HELPERS = """
    const w = await import('/wire.js');
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const plain = (value) => value instanceof Uint8Array ? {bin: [...value]}
      : Array.isArray(value) ? value.map(plain)
      : value && typeof value === 'object'
        ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)])) : value;
"""


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("name", CLIENT_MESSAGES)
def test_a_clients_message_has_the_golden_bytes_in_both_languages(page, name):
    call, from_bots, meaning = CLIENT_MESSAGES[name]
    golden = (GOLDEN / f"client_{name}.bin").read_bytes()
    from_page = bytes(page.evaluate(f"async () => {{{HELPERS} return [...{call}];}}"))
    assert from_page.hex(" ") == golden.hex(" ")
    assert from_bots.hex(" ") == golden.hex(" ")
    assert server.decode(golden) == meaning


def test_an_input_is_20_bytes_so_that_its_frame_has_the_size_the_server_looks_for():
    assert len((GOLDEN / "client_input.bin").read_bytes()) == LAYOUT.input_size == 20


def decode_in_page(page, data: bytes):
    return page.evaluate(
        f"async (text) => {{{HELPERS} return plain(w.decode(bytes(text)));}}", encoded(data)
    )


@pytest.mark.parametrize(
    "message",
    [
        [16, {"version": 1, "rules": {"dt": 0.05}, "resumed": False, "token": None, "n": -3}],
        [18, [["kill", "Ada", "Bob"], ["kill", "Ünï", "☄" * 20]]],
        [19, [["Ada", 70_000], ["Bob", 0]], 2**31],
        [20, None, "The server restarts."],
        [20, "Ada", "x" * 120],
        [21, 1234.5678, 2**32 - 1],
        [22, 1012, "…"],
        [21, -(2**31), 2**40],
        [18, [[i] * 3 for i in range(40)]],
    ],
)
def test_the_page_reads_what_the_server_packs(page, message):
    assert decode_in_page(page, msgpack.packb(message)) == message


def test_bin_fields_come_as_bytes_of_every_header_size(page):
    for size in (0, 200, 300, 70_000):
        [kind, width, cells] = decode_in_page(page, msgpack.packb([23, 1, b"\x07" * size]))
        assert (kind, width, cells["bin"]) == (23, 1, [7] * size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x93\x11\xc4",
        msgpack.packb([21, 1.0, 5])[:-1],
        msgpack.packb([21, 1.0, 5]) + b"\x00",
        msgpack.packb([21, "now", 5]),
        msgpack.packb([21, 1.0]),
        msgpack.packb({"type": 21}),
        msgpack.packb([22, 0, b"bytes"]),
        b"\x93\x16\x00\xa2\xff\xfe",
        b"\x91" * 40 + b"\x00",
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_what_does_not_fit_the_protocol_is_refused_with_a_wire_error(page, data):
    refused = page.evaluate(
        f"""async (text) => {{{HELPERS}
          try {{ w.decode(bytes(text)); return 'accepted'; }}
          catch (error) {{ return error instanceof w.WireError ? 'refused' : String(error); }}
        }}""",
        encoded(data),
    )
    assert refused == "refused"


def test_what_a_later_server_says_is_taken_and_nobody_has_to_know_it(page):
    assert decode_in_page(page, msgpack.packb([99, "news"])) == [99, "news"]


def test_the_head_brings_the_own_ship_to_the_last_bit(page):
    head = np.zeros(1, LAYOUT.head)
    head["tick"], head["ack_seq"], head["slack"] = 2**32 - 1, 65535, -128
    head["flags"], head["baseline_age"], head["snapshot_ticks"] = 3, 31, 4
    rng = np.random.default_rng(1)
    for name in game.SELF.names:
        raw = rng.integers(0, 256, game.SELF[name].itemsize, np.uint8)
        head["self"][name] = 1 / 3 if game.SELF[name].kind == "f" else raw.view(game.SELF[name])[0]
    got = page.evaluate(
        f"""async ([declaration, text]) => {{{HELPERS}
          return w.readHead(w.compile(declaration), bytes(text));
        }}""",
        [game.declaration(), encoded(head.tobytes())],
    )
    own = got.pop("self")
    assert got == {name: int(head[name][0]) for name in LAYOUT.head.names if name != "self"}
    assert own == {name: head["self"][name][0].item() for name in game.SELF.names}


# Entities of every kind that live, move, jump and die, seen by a page that misses snapshots.

TAKE = f"""async ([declaration, snapshots]) => {{{HELPERS}
  const {{World}} = await import('/tickstorm/columns.js');
  const world = new World(w.compile(declaration));
  return snapshots.map(([head, body]) => {{
    world.apply({{...head, self: {{}}}}, bytes(body));
    return world.kinds.map((kind) => {{
      const ids = [...kind.ids.subarray(0, kind.count)];
      return {{
        ids,
        rows: ids.map((id) => kind.kind.row.fields.map((f) => kind.columns[f.name][id])),
        generations: ids.map((id) => kind.generation[id]),
        entered: [...kind.entered.subarray(0, kind.enteredCount)],
        left: [...kind.left.subarray(0, kind.leftCount)],
      }};
    }});
  }});
}}"""


def flights(seed: int, ticks: int):
    """Snapshots of a wandering viewer, ``[(tick, full, body, viewer's world after it), …]``."""
    rng = np.random.default_rng(seed)
    side = 4
    fake = Fake(seed, side, slots=300 if seed % 2 else 40)
    grid = Grid(fake.size)
    histories = [KindHistory(kind, fake.slots, grid) for kind in KINDS]
    viewer = Viewer()
    x = y = np.float32([fake.size / 2])
    for tick in range(1, ticks + 1):
        fake.step(tick)
        for history, view in zip(histories, fake.views, strict=True):
            history.record(tick, view)
        x = np.clip(x + rng.normal(0, 150), 0, fake.size - 1).astype(np.float32)
        y = np.clip(y + rng.normal(0, 150), 0, fake.size - 1).astype(np.float32)
        viewer.now = int(grid.cell_of(x, y)[0])
        skipped = rng.random() < 0.2 or 60 < tick < 100  # now and then for longer than the ring
        if skipped:
            continue
        before = viewer.tick
        (body,) = encode_for([viewer], tick, histories)
        viewer.take(tick, body)
        yield tick, tick - before, body, {n: k.rows for n, k in viewer.world.kinds.items()}


@pytest.mark.parametrize("seed", range(6))
def test_the_page_knows_what_the_reference_decoder_knows_after_every_snapshot(page, seed):
    snapshots, expected = [], []
    for tick, age, body, known in flights(seed, 160):
        full = age > 31
        head = {"tick": tick, "flags": int(full), "baseline_age": 0 if full else age}
        snapshots.append([head, encoded(body)])
        expected.append(known)
    worlds = page.evaluate(TAKE, [DECLARATION, snapshots])
    assert len(worlds) == len(expected) > 80
    fulls = sum(head["flags"] for head, _ in snapshots)
    assert fulls == 2, "one at the start, one after the long pause"

    before = [{"ids": [], "generations": []} for _ in KINDS]
    for world, known in zip(worlds, expected, strict=True):
        for kind, got, had in zip(KINDS, world, before, strict=True):
            rows = known[kind.name]
            wanted = [
                [v.decode() if isinstance(v, bytes) else v for v in row] for row in rows.tolist()
            ]
            assert got["rows"] == wanted
            assert got["ids"] == sorted(got["ids"])
            gone = set(had["ids"]) - set(got["ids"])
            assert gone <= set(got["left"])
            assert set(got["ids"]) - set(had["ids"]) <= set(got["entered"])
            stayed = set(had["ids"]) & set(got["ids"]) - set(got["entered"])
            old, new = (dict(zip(w["ids"], w["generations"])) for w in (had, got))
            assert all(old[i] == new[i] for i in stayed)
        before = world


def test_a_full_snapshot_of_the_same_world_makes_nobody_a_new_entity(page):
    rng = np.random.default_rng(2)
    rows = [rng.integers(65, 90, 31, np.uint8).tobytes() for _ in range(3)]
    rows = [id.to_bytes(2, "little") + row[: ship_row()] for id, row in zip((3, 7, 9), rows)]
    first = b"\x01" + section(rows)
    again = b"\x01" + section([rows[0], rows[1][:-1] + b"!"])  # 7 has another name now, 9 is gone
    got = page.evaluate(
        TAKE,
        [
            game.declaration(),
            [
                [{"tick": 5, "flags": 1, "baseline_age": 0}, encoded(first)],
                [{"tick": 9, "flags": 1, "baseline_age": 0}, encoded(again)],
            ],
        ],
    )
    (before, *_), (after, *_) = got
    assert before["ids"] == [3, 7, 9] and after["ids"] == [3, 7]
    assert after["generations"][0] == before["generations"][0]
    assert after["generations"][1] != before["generations"][1]
    assert after["left"] == [9]


def ship_row() -> int:
    return game.KINDS[0].dtype("delta", "state", "static").itemsize


def section(enter: list[bytes]) -> bytes:
    return np.array([0, len(enter)], "<u2").tobytes() + b"".join(enter)


@pytest.mark.parametrize(
    "head, body, reason",
    [
        ({"tick": 6, "flags": 0, "baseline_age": 2}, b"\x00", "baseline 4"),
        ({"tick": 6, "flags": 0, "baseline_age": 1}, b"", "too early"),
        ({"tick": 6, "flags": 0, "baseline_age": 1}, b"\x00\x00", "1 bytes after"),
        ({"tick": 6, "flags": 0, "baseline_age": 1}, b"\x08", "unknown kinds"),
        ({"tick": 6, "flags": 0, "baseline_age": 1}, b"\x01\x01\x00\x00\x00\x09\x00", "not known"),
        ({"tick": 6, "flags": 0, "baseline_age": 1}, b"\x04\x00\x00\x02\x00", "too early"),
    ],
)
def test_a_body_that_contradicts_what_is_known_is_refused_and_a_full_one_mends_it(
    page, head, body, reason
):
    got = page.evaluate(
        f"""async ([declaration, head, body]) => {{{HELPERS}
          const {{World}} = await import('/tickstorm/columns.js');
          const world = new World(w.compile(declaration));
          world.apply({{tick: 5, flags: 1, baseline_age: 0}}, new Uint8Array([0]));
          let reason = '';
          try {{ world.apply(head, bytes(body)); }}
          catch (error) {{ reason = error instanceof w.WireError ? error.message : String(error); }}
          world.apply({{tick: 9, flags: 1, baseline_age: 0}}, new Uint8Array([0]));
          return [reason, world.tick];
        }}""",
        [game.declaration(), head, encoded(body)],
    )
    assert reason in got[0] and got[1] == 9
