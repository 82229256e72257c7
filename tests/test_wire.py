"""Messages, byte by byte: golden files for what the server says, shape checks for what it hears.

``python -m tests.test_wire`` writes the golden files anew after a deliberate change of
the protocol or of the arena's schema.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

import game
from clients.bots import wire as bots
from tests.arena import LAYOUT
from tests.wrong_bytes import BYTES, WRONG
from tickstorm.games.world import KindView
from tickstorm.protocol import wire
from tickstorm.protocol.wire import Close, ProtocolViolation
from tickstorm.replication import snapshot
from tickstorm.replication.history import RING, KindHistory
from tickstorm.replication.interest import Grid

pytest_plugins = ["tests.browser"]

GOLDEN = Path(__file__).parent / "golden"
INDEX = GOLDEN / "server.json"

# ------------------------------------------------------------------ what the server says

MESSAGES = {
    "welcome": (
        wire.welcome({"version": 1, "tick_hz": 20, "resumed": False, "rules": {"dt": 0.05}}),
        [16, {"version": 1, "tick_hz": 20, "resumed": False, "rules": {"dt": 0.05}}],
    ),
    "feed": (wire.feed([["kill", "Ada", "Zoë"]]), [18, [["kill", "Ada", "Zoë"]]]),
    "board": (
        wire.board([["Ada", 70_000], ["Zoë", 0]], 24),
        [19, [["Ada", 70_000], ["Zoë", 0]], 24],
    ),
    "chat": (wire.chatted("Ada", "gg ☄"), [20, "Ada", "gg ☄"]),
    "chat_of_the_server": (wire.chatted(None, "x" * 120), [20, None, "x" * 120]),
    "pong": (wire.pong(1234.5, 2**32 - 1), [21, 1234.5, 2**32 - 1]),
    "notice": (wire.notice(1012, "The server restarts."), [22, 1012, "The server restarts."]),
    "heat": (wire.heat(2, np.array([0, 3, 255, 1000])), [23, 2, bytes([0, 3, 255, 255])]),
}


def unframed(frame: bytes) -> bytes:
    """The message in one whole unmasked binary frame, as the codec reads it."""
    client = ClientProtocol(parse_uri("ws://server/"), state=State.OPEN, max_size=None)
    client.receive_data(frame)
    (event,) = client.events_received()
    assert isinstance(event, Frame) and event.opcode is Opcode.BINARY and event.fin
    assert client.state is State.OPEN
    return bytes(event.data)


def story():
    """Three snapshots of one viewer: ``[(head: HEAD, frame, {kind: {id: row}}), …]``.

    Full at tick 70,000; a delta with a moved, a turned, a jumped, a gone, a new and a
    replaced ship, an orb and a shot; and at last one in which nothing has changed.
    """
    grid = Grid(4096)
    slots = 8
    views = [
        KindView(
            np.zeros(slots, bool),
            np.zeros(slots, np.int64),
            np.full(slots, 1500, np.float32),
            np.full(slots, 1500, np.float32),
            np.zeros(slots, kind.dtype("delta", "state")),
            np.zeros(slots, kind.dtype("static")),
        )
        for kind in game.KINDS
    ]
    ships, shots, orbs = views
    histories = [KindHistory(kind, slots, grid) for kind in game.KINDS]

    def appear(view, slot, tick, **columns):
        view.present[slot], view.born[slot] = True, tick
        for name, value in columns.items():
            rows = view.mutable if name in (view.mutable.dtype.names or ()) else view.static
            rows[name][slot] = value

    first = 70_000
    for slot, name in enumerate(["Ada", "Bob", "Cid", "Dan", "Eve"]):
        place = {"x": 3000 + slot, "y": 3000, "heading": 250 + slot, "hp": 100, "flags": 1}
        appear(ships, slot, first - 9, hue=17 * slot, name=name.encode(), **place)
    appear(orbs, 2, first - 5, x=2900, y=3100, value=7)

    cell = grid.cell_of(np.float32([1500]), np.float32([1500])).astype(np.int64)
    baseline, told = -RING, []
    for tick in (first, first + 1, first + 3):
        if tick == first + 1:
            ships.mutable["x"][0] += 100
            ships.mutable["heading"][1] = 5  # 251 + 10, wrapped
            ships.mutable["x"][2] -= 2000  # beyond a byte: the whole row travels
            ships.mutable["hp"][2] = 55
            ships.present[3] = False
            appear(ships, 4, tick, x=2500, y=2600, hp=90, hue=200, name="Zoë".encode())
            appear(ships, 6, tick, x=2700, y=2600, hp=80, hue=100, name=b"Flo")
            appear(orbs, 2, tick, x=2901, y=3101, value=9)
            appear(shots, 7, tick, x=3000, y=3001, aim=1023, born=tick & 0xFFFF, owner=4, seq=9)
        elif tick == first + 3:
            for history, view in zip(histories, views, strict=True):
                history.record(tick - 1, view)
        for history, view in zip(histories, views, strict=True):
            history.record(tick, view)
        age = np.array([tick - baseline])
        groups, _ = snapshot.group(cell, age, cell)
        bodies = snapshot.encode(tick, histories, groups)
        head = np.zeros(1, LAYOUT.head)
        full = tick == first
        head["tick"], head["ack_seq"], head["slack"] = tick, 65535, -128 if full else -2
        head["flags"], head["baseline_age"] = (1, 0) if full else (2, tick - baseline)
        head["snapshot_ticks"] = 1
        head["self"]["x"], head["self"]["energy"], head["self"]["score"] = 1 / 3, 100, 2**32 - 1
        starts = LAYOUT.starts(1)
        starts.heads[:] = head
        starts.fill_self(head["self"].copy())
        (frame,) = snapshot.Snapshots(starts, bodies, np.array([0])).cut()
        known = {
            kind.name: {
                int(slot): [*view.mutable[slot].item(), *view.static[slot].item()]
                if view.mutable.dtype.names
                else list(view.static[slot].item())
                for slot in np.flatnonzero(view.present)
            }
            for kind, view in zip(game.KINDS, views, strict=True)
        }
        told.append((head[0], frame, known))
        baseline = tick
    return told


def plain(value):
    """As JSON can say it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def head_fields(head) -> dict:
    fields = dict(zip(LAYOUT.head.names, head.item()))
    return {**fields, "self": dict(zip(game.SELF.names, fields["self"]))}


def golden_files() -> dict[str, bytes]:
    files = {f"server_{name}.bin": unframed(frame) for name, (frame, _) in MESSAGES.items()}
    index = {"declaration": game.declaration(), "snapshots": []}
    for i, (head, frame, known) in enumerate(story()):
        name = f"server_snapshot_{i}.bin"
        files[name] = unframed(frame)
        index["snapshots"].append({"file": name, "head": head_fields(head), "known": plain(known)})
    files[INDEX.name] = (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode()
    return files


@pytest.mark.parametrize("name", golden_files())
def test_the_server_still_says_the_golden_bytes(name):
    assert golden_files()[name] == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bots_read_the_golden_messages(name):
    message = bots.decode((GOLDEN / f"server_{name}.bin").read_bytes())
    assert message == MESSAGES[name][1]


def test_the_bots_read_the_golden_snapshots():
    index = json.loads(INDEX.read_text())
    world = bots.KnownWorld(index["declaration"])
    for told in index["snapshots"]:
        _, head, body = bots.decode((GOLDEN / told["file"]).read_bytes())
        assert world.apply(head, body) == told["head"]
        for name, rows in told["known"].items():
            kind = world.kinds[name]
            assert {str(i): plain(row.item()) for i, row in zip(kind.ids, kind.rows)} == rows


def test_the_page_reads_the_golden_messages_and_snapshots(page):
    index = json.loads(INDEX.read_text())

    def read(name):
        return base64.b64encode((GOLDEN / name).read_bytes()).decode()

    got = page.evaluate(
        """async ([declaration, messages, snapshots]) => {
          const w = await import('/wire.js');
          const {World} = await import('/tickstorm/columns.js');
          const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const plain = (value) => value instanceof Uint8Array ? {bin: [...value]}
            : Array.isArray(value) ? value.map(plain) : value;
          const schema = w.compile(declaration);
          const world = new World(schema);
          return [
            messages.map((text) => plain(w.decode(bytes(text)))),
            snapshots.map((text) => {
              const [, headBytes, body] = w.decode(bytes(text));
              const head = w.readHead(schema, headBytes);
              world.apply(head, body);
              const known = {};
              for (const {kind, ids, count, columns} of world.kinds) {
                known[kind.name] = Object.fromEntries([...ids.subarray(0, count)].map(
                  (id) => [id, kind.row.fields.map((f) => columns[f.name][id])]));
              }
              return {head, known};
            }),
          ];
        }""",
        [
            index["declaration"],
            [read(f"server_{name}.bin") for name in MESSAGES],
            [read(told["file"]) for told in index["snapshots"]],
        ],
    )
    messages, snapshots = got
    for message, (_, expected) in zip(messages, MESSAGES.values(), strict=True):
        assert message == [{"bin": list(v)} if isinstance(v, bytes) else v for v in expected]
    for read_back, told in zip(snapshots, index["snapshots"], strict=True):
        assert read_back["head"] == told["head"]
        assert read_back["known"] == told["known"]


@pytest.mark.parametrize(
    "size", [0, 1, 30, 64, 65, 66, 124, 125, 126, 65_400, 65_535, 65_536, 70_000]
)
def test_a_snapshot_of_any_size_is_one_frame_with_the_shortest_header(size):
    starts = LAYOUT.starts(3)
    starts.heads["tick"] = [1, 2, 3]
    sizes = np.array([5, size, 70_000])
    bodies = snapshot.Bodies(np.zeros(sizes.sum(), np.uint8), np.cumsum(sizes) - sizes, sizes)
    snapshots = snapshot.Snapshots(starts, bodies, np.arange(3))
    assert snapshots.cut() == [snapshots.one(i) for i in range(3)]
    for i, frame in enumerate(snapshots.cut()):
        assert len(frame) == snapshots.size[i]
        body = bytes(sizes[i])
        kind, head, read_back = msgpack.unpackb(unframed(frame))
        assert (kind, read_back) == (wire.SNAPSHOT, body)
        assert np.frombuffer(head, LAYOUT.head)["tick"] == [i + 1]
        payload = len(unframed(frame))
        header = 2 if payload < 126 else 4 if payload < 65_536 else 10
        assert len(frame) == header + payload


@pytest.mark.parametrize("size", [0, 100, 121, 122, 123, 200, 65_530, 65_531, 65_540])
def test_other_messages_of_any_size_are_one_frame_too(size):
    assert msgpack.unpackb(unframed(wire.chatted(None, "x" * size))) == [20, None, "x" * size]


# ------------------------------------------------------------------ what the server hears


def masked(message: bytes, mask: bytes) -> bytes:
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(message))
    return bytes([0x82, 0x80 | len(message)]) + mask + body


def test_plain_inputs_of_a_tick_are_unmasked_as_one_array():
    rng = np.random.default_rng(1)
    frames, expected = [], []
    for _ in range(50):
        fields = [int(v) for v in rng.integers(0, 2**16, 4)] + [
            int(v) for v in rng.integers(0, 256, 3)
        ]
        message = bots.encode_input(*fields)
        frames.append(masked(message, rng.bytes(4)))
        expected.append(fields)
    frames.insert(7, masked(bots.encode_chat("x" * 17), b"abcd"))  # 20 bytes, but no input
    raw = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, LAYOUT.input_frame.size)
    rows, valid = LAYOUT.unmask_inputs(raw)
    assert np.flatnonzero(~valid).tolist() == [7]
    assert [list(row)[:7] for row in rows[valid].tolist()] == expected


def test_no_frames_are_no_rows():
    rows, valid = LAYOUT.unmask_inputs(np.zeros((0, LAYOUT.input_frame.size), np.uint8))
    assert len(rows) == len(valid) == 0


GOOD = [
    [1, 1, 0, "Ada", None, {}],
    [1, 1, 2**32 - 1, "", "token", {"bot": True, "more": [1]}],
    [2, bytes(16)],
    [3, "gg"],
    [4, 0],
    [4, 1.5],
    [5],
    [6],
    [7, 3],
    [7, 1, 2.5],
    [7, -1.0, 10**18],
]


@pytest.mark.parametrize("message", GOOD)
def test_a_message_of_the_right_shape_is_read(message):
    assert wire.decode(msgpack.packb(message)) == message


@pytest.mark.parametrize("message", WRONG, ids=lambda message: repr(message)[:40])
def test_a_message_of_another_shape_is_malformed(message):
    with pytest.raises(ProtocolViolation) as violation:
        wire.decode(msgpack.packb(message))
    assert violation.value.code is Close.MALFORMED


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_input_of_another_size_than_the_game_declares_is_malformed(size):
    LAYOUT.check_input(bytes(16))
    with pytest.raises(ProtocolViolation, match=f"input of {size} bytes") as violation:
        LAYOUT.check_input(bytes(size))
    assert violation.value.code is Close.MALFORMED


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_message_are_malformed(name):
    with pytest.raises(ProtocolViolation) as violation:
        wire.decode(BYTES[name])
    assert violation.value.code is Close.MALFORMED


def test_nan_and_infinity_are_floats_like_any_other():
    assert math.isnan(wire.decode(msgpack.packb([4, math.nan]))[1])
    assert wire.decode(msgpack.packb([7, math.inf, -math.inf])) == [7, math.inf, -math.inf]


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_a_message_or_a_violation(data):
    try:
        message = wire.decode(data)
    except ProtocolViolation as violation:
        assert violation.code is Close.MALFORMED
        assert len(violation.reason.encode()) <= 123, "it has to fit a close frame"
    else:
        assert type(message[0]) is int


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_a_message_with_any_byte_changed_is_a_message_or_a_violation(message, data):
    raw = bytearray(msgpack.packb(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        wire.decode(bytes(raw))
    except ProtocolViolation as violation:
        assert violation.code is Close.MALFORMED


def test_every_close_code_may_stand_in_a_close_frame():
    for code in Close:
        client = ClientProtocol(parse_uri("ws://server/"), state=State.OPEN)
        client.send_close(int(code), "x" * 123)
        assert client.close_sent.code == code


if __name__ == "__main__":
    for name, data in golden_files().items():
        (GOLDEN / name).write_bytes(data)
