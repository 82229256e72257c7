"""The Python client's state: each part of STATE and PATCH, and what contradicts them."""

from __future__ import annotations

import pytest

from tickstorm.client.state import (
    DELETE,
    FIXED,
    HIDDEN,
    INSERT,
    PATCH,
    QUANTISED,
    REPLACE,
    SET,
    SMOOTH,
    STATE,
    Ref,
    StateTree,
    WireError,
    pack,
    unpack,
)

DECLARATION = {
    "kinds": [
        ["room", [["phase", "str", 0, None], ["scores", "dict[str, int]", 0, None]]],
        [
            "walker",
            [
                ["name", "str", FIXED, None],
                ["x", "float", SMOOTH | QUANTISED, 0.5],
                ["hand", "list[str]", HIDDEN, None],
                ["bag", "list", 0, None],
                ["at", "ref", 0, None],
            ],
        ],
        ["ghost", [["hp", "int", HIDDEN, None], ["owner", "ref", FIXED, None]]],
    ]
}
ENTERS = [0, 0, ["play", {"a": 1}], 1, 3, ["Ada", 20, ["map"], None]]


def tree(hidden: list | None = None) -> StateTree:
    made = StateTree(DECLARATION)
    made.apply_state(travelled([STATE, 7, None, ENTERS, hidden]))
    return made


def travelled(message: list) -> list:
    while message[-1] is None:
        message.pop()
    return unpack(pack(message))


def patch(made: StateTree, changes=None, leaves=None, enters=None, hidden=None) -> None:
    message = [PATCH, made.tick + 1, None, changes, leaves, enters, hidden]
    made.apply_patch(travelled(message))


def test_a_state_replaces_everything_known():
    made = tree()
    patch(made, enters=[1, 4, ["Bo", 0, [], None]])
    made.apply_state(travelled([STATE, 9, -2, ENTERS]))
    assert sorted(made.entities) == [0, 3] and (made.tick, made.slack) == (9, -2)


def test_what_changes_are_the_bits_of_the_mask():
    made = tree()
    patch(made, [3, 0b111, -3, [[INSERT, 1, "key"]], Ref(0), 0, 0b1, "over"])
    assert made.entities[3] == {"name": "Ada", "x": 8.5, "bag": ["map", "key"], "at": Ref(0)}
    assert made.room["phase"] == "over"


def test_a_list_and_a_dict_are_told_operations_in_order():
    made = tree()
    patch(made, [3, 0b10, [[INSERT, 1, "b"], [SET, 0, "a"], [DELETE, 1], [INSERT, 0, "z"]]])
    patch(made, [0, 0b10, [[SET, "b", 2], [DELETE, "a"]]])
    assert made.entities[3]["bag"] == ["z", "a"] and made.room["scores"] == {"b": 2}
    patch(made, [3, 0b10, [[REPLACE, []]], 0, 0b10, [[REPLACE, {}]]])
    assert made.entities[3]["bag"] == [] and made.room["scores"] == {}


def test_an_id_may_leave_and_enter_in_one_patch():
    made = tree()
    patch(made, [3, 0b1, 1], [3], [1, 3, ["Bo", 0, [], None]])
    assert made.entities[3]["name"] == "Bo" and made.entities[3]["x"] == 0.5


def test_hidden_state_comes_and_goes():
    made = tree([[3, 2, ["ace"]], [], [2, 9, [None, Ref(3)]]])
    assert made.entities[3]["hand"] == ["ace"] and made.entities[9] == {"owner": Ref(3)}
    patch(made, hidden=[[9, 0, 5], [[3, 2]][0]])
    assert "hand" not in made.entities[3] and made.entities[9]["hp"] == 5
    patch(made, hidden=[[], [], [2, 9, [1, None]], [9]])
    assert made.entities[9] == {"hp": 1, "owner": None}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"changes": [8, 1, 1]}, "no entity 8"),
        ({"changes": [3, 0, 1]}, "mask 0"),
        ({"changes": [3, 0b1000, 1]}, "mask 8"),
        ({"changes": [3, 0b11, 1]}, "end before walker.bag"),
        ({"changes": [3, 0b1, 0.5]}, "walker.x changes by 0.5"),
        ({"changes": [3, 0b100, 5]}, "walker.at, ref, came as 5"),
        ({"changes": [3, 0b10, [[DELETE, 1]]]}, "on a list of 1"),
        ({"changes": [3, 0b10, [[INSERT, 2, "x"]]]}, "on a list of 1"),
        ({"changes": [0, 0b10, [[DELETE, "b"]]]}, "on a dict of 1"),
        ({"changes": [0, 0b10, [[INSERT, "b", 1]]]}, "on a dict of 1"),
        ({"changes": [0, 0b10, [[REPLACE, []]]]}, "replaced by"),
        ({"changes": [0, 0b1, True]}, "room.phase, str, came as True"),
        ({"leaves": [0]}, "room itself"),
        ({"leaves": [4]}, "no entity 4"),
        ({"enters": [1, 3, ["Bo", 0, [], None]]}, "enters twice"),
        ({"enters": [1, 4, ["Bo", 0, []]]}, "enters with"),
        ({"enters": [7, 4, []]}, "unknown kind 7"),
        ({"enters": [1, 0, []]}, "with id 0"),
        ({"enters": [1, 4]}, "multiple of 3"),
        ({"hidden": [[], [3, 2]]}, "never shown"),
        ({"hidden": [[3, 9, 1]]}, "no field 9"),
        ({"hidden": [[3, 2, {}]]}, "walker.hand"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_place(parts, reason):
    with pytest.raises(WireError, match=reason):
        patch(tree(), **parts)


def test_patches_need_a_state_and_go_forward():
    with pytest.raises(WireError, match="before STATE"):
        StateTree(DECLARATION).apply_patch([PATCH, 1])
    made = tree()
    with pytest.raises(WireError, match="after 7"):
        made.apply_patch([PATCH, 6])


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91", b"\xd4\x02\x01", b"\xd5\x01\x01\x00"])
def test_bytes_that_are_no_message(data):
    with pytest.raises(WireError):
        unpack(data)
