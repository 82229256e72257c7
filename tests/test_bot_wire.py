"""The bots' decoder against bytes made by hand, after PROTOCOL.md."""

import struct
import zlib

import msgpack
import numpy as np
import pytest

from clients.bots import wire
from clients.bots.wire import KnownWorld, WireError
from game import schema

# Two kinds: one with every role (8- and 16-bit deltas), one that is only static.
TANK = ["tank", [["x", "u2", "delta", 0.5], ["heading", "u1", "delta", 1.0]]]
TANK[1] += [["hp", "u1", "state", 1.0], ["name", "S3", "static", 1.0]]
CRATE = ["crate", [["x", "u2", "static", 0.5]]]
TOY = [[TANK, CRATE], [["x", "f4"], ["score", "u2"]], [["aim", "u2"]]]


def head(tick, age=0, flags=0, ack_seq=7, slack=-3, x=1.5, score=9):
    return struct.pack("<IHbBBBfH", tick, ack_seq, slack, flags, age, 1, x, score)


def tank(entity, x, heading, hp, name):
    return struct.pack("<HHBB3s", entity, x, heading, hp, name)


def section(leave=(), enter=(), changes=b""):
    counts = struct.pack("<HH", len(leave), len(enter))
    return counts + struct.pack(f"<{len(leave)}H", *leave) + changes + b"".join(enter)


def three_tanks():
    """A world that knows tanks 2, 5 and 9 and crate 4, at tick 100."""
    world = KnownWorld(TOY)
    tanks = [tank(9, 900, 90, 9, b"Ned"), tank(2, 200, 20, 2, b"Tim"), tank(5, 500, 250, 5, b"Fay")]
    body = b"\x03" + section(enter=tanks) + section(enter=[struct.pack("<HH", 4, 44)])
    world.apply(head(100, flags=wire.FULL), body)
    return world


def known(world, kind="tank"):
    return dict(zip(world.kinds[kind].ids.tolist(), world.kinds[kind].rows.tolist()))


TANKS = {2: (200, 20, 2, b"Tim"), 5: (500, 250, 5, b"Fay"), 9: (900, 90, 9, b"Ned")}


def test_a_full_snapshot_brings_all_columns_in_ascending_order_of_id():
    world = three_tanks()
    assert world.kinds["tank"].ids.tolist() == [2, 5, 9]
    assert known(world) == TANKS
    assert known(world, "crate") == {4: (44,)}
    assert world.kinds["tank"].scaled("x").tolist() == [100.0, 250.0, 450.0]
    assert world.kinds["tank"].index(5) == 1
    assert world.kinds["tank"].index(6) == -1
    assert world.tick == 100


def test_the_head_comes_back_by_name():
    fields = three_tanks().apply(head(103, age=3, flags=wire.SHED), b"\x00")
    assert fields == {
        "tick": 103,
        "ack_seq": 7,
        "slack": -3,
        "flags": wire.SHED,
        "baseline_age": 3,
        "snapshot_ticks": 1,
        "self": {"x": 1.5, "score": 9},
    }


def test_kinds_without_a_section_are_unchanged_by_a_delta_and_emptied_by_a_full():
    world = three_tanks()
    world.apply(head(101, age=1), b"\x00")
    assert known(world) == TANKS
    world.apply(head(102, flags=wire.FULL), b"\x00")
    assert known(world) == {}
    assert known(world, "crate") == {}


def test_deltas_are_added_in_order_of_id_and_eight_bits_wrap():
    world = three_tanks()
    changes = bytes([0b110]) + struct.pack("bb", -100, 127) + struct.pack("bb", 10, -91)
    world.apply(head(101, age=1), b"\x01" + section(changes=changes))
    assert known(world) == {
        2: TANKS[2],
        5: (400, (250 + 10) % 256, 5, b"Fay"),
        9: (1027, (90 - 91) % 256, 9, b"Ned"),
    }


def test_an_escape_brings_a_whole_row_of_delta_and_state_columns():
    world = three_tanks()
    changes = bytes([0b011]) + struct.pack("bb", -128, 1) + struct.pack("bb", 0, 2)
    changes += struct.pack("<HBB", 60000, 77, 1)
    world.apply(head(101, age=1), b"\x01" + section(changes=changes))
    assert known(world) == {2: (60000, 77, 1, b"Tim"), 5: (501, 252, 5, b"Fay"), 9: TANKS[9]}


def test_changed_bits_count_survivors_only_and_entering_ones_have_none():
    world = three_tanks()
    changes = bytes([0b10]) + struct.pack("b", 1) + struct.pack("b", 0)
    body = section(leave=[5], enter=[tank(3, 300, 0, 3, b"New")], changes=changes)
    world.apply(head(101, age=1), b"\x01" + body)
    assert known(world) == {2: TANKS[2], 3: (300, 0, 3, b"New"), 9: (901, 90, 9, b"Ned")}


def test_an_enter_row_for_a_known_id_replaces_that_entity():
    world = three_tanks()
    body = section(enter=[tank(5, 1, 1, 1, b"Sub")], changes=b"\x00")
    world.apply(head(101, age=1), b"\x01" + body)
    assert known(world) == {**TANKS, 5: (1, 1, 1, b"Sub")}


def test_static_kinds_have_no_changed_bits():
    world = three_tanks()
    body = section(leave=[4], enter=[struct.pack("<HH", 8, 88)])
    world.apply(head(101, age=1), b"\x02" + body)
    assert known(world, "crate") == {8: (88,)}


def test_a_kind_with_state_but_no_delta_columns_sends_whole_rows():
    door = ["door", [["open", "u1", "state", 1.0], ["x", "u2", "static", 1.0]]]
    world = KnownWorld([[door], TOY[1], TOY[2]])
    enter = [struct.pack("<HBH", i, 0, i) for i in (1, 2)]
    world.apply(head(1, flags=wire.FULL), b"\x01" + section(enter=enter))
    world.apply(head(2, age=1), b"\x01" + section(changes=b"\x02\x07"))
    assert known(world, "door") == {1: (0, 1), 2: (7, 2)}


def test_nine_survivors_take_two_bytes_of_changed_bits():
    world = KnownWorld(TOY)
    enter = [tank(i, i, 0, 0, b"") for i in range(9)]
    world.apply(head(1, flags=wire.FULL), b"\x01" + section(enter=enter))
    world.apply(head(2, age=1), b"\x01" + section(changes=b"\x00\x01" + b"\x05\x00"))
    assert world.kinds["tank"]["x"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 13]


NOTHING = section(changes=b"\x00")
REFUSED = {
    "a body that ends early": (head(101, age=1), (b"\x01" + NOTHING)[:-1], "ends inside changed"),
    "bytes left over": (head(101, age=1), b"\x01" + NOTHING + b"\x00", "1 bytes after"),
    "an empty body": (head(101, age=1), b"", "ends inside the mask"),
    "a section of an undeclared kind": (head(101, age=1), b"\x04", "sections 0b100 of 2"),
    "a head of the wrong size": (head(101, age=1) + b"\x00", b"\x00", "head of 17 bytes"),
    "another baseline": (head(102, age=1), b"\x00", "baseline 102 - 1, but the last .* 100"),
    "the past": (head(100, age=0), b"\x00", "tick 100 after that of tick 100"),
    "a full one with a baseline": (head(101, age=1, flags=1), b"\x00", "full snapshot with a"),
    "an unknown one to leave": (
        head(101, age=1),
        b"\x01" + section(leave=[2, 6], changes=b"\x00"),
        "leave of tank 6, which is not known",
    ),
    "the same one to leave twice": (
        head(101, age=1),
        b"\x01" + section(leave=[5, 5], changes=b"\x00"),
        r"leave of tank with an id twice: \[5, 5\]",
    ),
    "the same one entering twice": (
        head(101, age=1),
        b"\x01" + section(enter=[tank(3, 0, 0, 0, b"")] * 2, changes=b"\x00"),
        r"enter of tank with an id twice: \[3, 3\]",
    ),
    "a change beyond the survivors": (
        head(101, age=1),
        b"\x01" + section(changes=b"\x08\x00\x00"),
        "beyond its 3 survivors",
    ),
}


@pytest.mark.parametrize("head_bytes, body, reason", REFUSED.values(), ids=REFUSED.keys())
def test_a_snapshot_that_contradicts_what_is_known_is_refused_and_changes_nothing(
    head_bytes, body, reason
):
    world = three_tanks()
    with pytest.raises(WireError, match=reason):
        world.apply(head_bytes, body)
    assert (world.tick, known(world), known(world, "crate")) == (100, TANKS, {4: (44,)})


def test_a_delta_that_leaves_the_columns_range_is_refused():
    world = three_tanks()
    down = section(changes=b"\x01" + struct.pack("bb", -127, 0))
    world.apply(head(101, age=1), b"\x01" + down)
    with pytest.raises(WireError, match="takes tank.x beyond its range"):
        world.apply(head(102, age=1), b"\x01" + down)


def test_a_delta_before_any_full_snapshot_is_refused():
    with pytest.raises(WireError, match="before any full"):
        KnownWorld(TOY).apply(head(5, age=1), b"\x00")


@pytest.mark.parametrize(
    "column, reason",
    [
        (["x", "u8", "static", 1.0], "unknown dtype 'u8'"),
        (["x", "u1", "delta", 1.0], "first delta column of thing is not 16 bits"),
        (["x", "f4", "delta", 1.0], "8 or 16 bits are allowed"),
        (["x", "u2", "often", 1.0], "unknown role 'often'"),
        (["x", "u2"], "unreadable declaration"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(column, reason):
    with pytest.raises(WireError, match=reason):
        KnownWorld([[["thing", [column]]], [], []])


def test_the_arena_declares_the_dtypes_that_it_packs():
    for kind in schema.KINDS:
        declared = next(k for k in schema.declaration()[0] if k[0] == kind.name)
        read = wire.kind_schema(declared)
        assert read.row == kind.dtype("delta", "state", "static")
        assert read.mutable == kind.dtype("delta", "state")
    assert KnownWorld(schema.declaration()).head["self"] == schema.SELF


# ---------------------------------------------------------------- messages


def test_an_input_is_the_twenty_bytes_of_the_protocol_and_fits_the_games_command():
    data = wire.encode_input(
        0x01020304, 0x05060708, 0x090A, aim=0x030B, move=0x0C, buttons=0x05, view_delay=0x0E
    )
    assert data.hex(" ") == "92 02 c4 10 04 03 02 01 08 07 06 05 0a 09 0b 03 0c 05 0e 00"
    assert msgpack.unpackb(data) == [2, data[4:]]
    command = np.frombuffer(data[-schema.COMMAND.itemsize :], schema.COMMAND)[0]
    assert command.item() == (0x030B, 0x0C, 0x05, 0x0E, 0)


def test_the_other_client_messages_are_arrays_that_start_with_their_type():
    assert msgpack.unpackb(wire.encode_hello("A", "t", 5, bot=True)) == [
        *[1, 1, 5, "A", "t"],
        {"bot": True},
    ]
    assert msgpack.unpackb(wire.encode_chat("hi")) == [3, "hi"]
    assert msgpack.unpackb(wire.encode_ping(1.25)) == [4, 1.25]
    assert msgpack.unpackb(wire.encode_leave()) == [5]
    assert msgpack.unpackb(wire.encode_sync()) == [6]
    assert msgpack.unpackb(wire.encode_look(3)) == [7, 3]
    assert msgpack.unpackb(wire.encode_look(3.0, 4.0)) == [7, 3.0, 4.0]


@pytest.mark.parametrize(
    "message",
    [
        [17, b"head", b"body"],
        [18, [["kill", "A", "B", 0, 1]]],
        [19, [["A", 5]], 12],
        [20, None, "the server speaks"],
        [20, "A", "hello"],
        [21, 2, 100],
        [22, 1012, "restarting"],
        [23, 2, b"\x00\x01\x02\xff"],
    ],
)
def test_each_server_message_comes_back_as_it_was_sent(message):
    assert wire.decode(msgpack.packb(message)) == message


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (b"\xa2\xff\xff", "not msgpack"),
        (msgpack.packb([20, None, "x"])[:-1], "not msgpack"),
        (msgpack.packb([20, None, "x"]) + b"\x00", "not msgpack"),
        (msgpack.packb({}), "not an array"),
        (msgpack.packb([]), "not an array"),
        (msgpack.packb([True]), "not an array"),
        (msgpack.packb([21, 1.0]), "PONG with wrong fields"),
        (msgpack.packb([17, "head", b""]), "SNAPSHOT with wrong fields"),
        (msgpack.packb([23, 2, b"\x00"]), "HEAT of width 2 with 1 bytes"),
    ],
)
def test_a_malformed_server_message_is_refused(data, reason):
    with pytest.raises(WireError, match=reason):
        wire.decode(data)


def test_what_a_later_server_says_is_taken_and_nobody_has_to_know_it():
    assert wire.decode(msgpack.packb([99, "news"])) == [99, "news"]


def welcome(**changes):
    fields = {"version": 1, "declaration": TOY, "schema": zlib.crc32(msgpack.packb(TOY))}
    fields |= {"room": "main", "slot": 3, "name": "A", "tick": 9, "tick_hz": 20}
    fields |= {"snapshot_ticks": 1, "size": 6144, "cell": 512, "token": "secret", "resumed": False}
    fields |= {"grace_s": 30, "rules": {"dt": 0.05}, "server": "0.1.0"} | changes
    return msgpack.unpackb(msgpack.packb(fields))


def test_a_welcome_survives_its_checks():
    assert wire.check_welcome(welcome()) == welcome()


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"version": 2}, "version 2, not 1"),
        ({"schema": 1}, "checksum"),
        ({"token": None}, "WELCOME with token = None"),
        ({"rules": []}, "WELCOME with rules"),
    ],
)
def test_a_welcome_that_does_not_fit_is_refused(changes, reason):
    with pytest.raises(WireError, match=reason):
        wire.check_welcome(welcome(**changes))


def test_a_welcome_without_a_key_is_refused():
    fields = welcome()
    del fields["grace_s"]
    with pytest.raises(WireError, match="WELCOME without 'grace_s'"):
        wire.check_welcome(fields)
