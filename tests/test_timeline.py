"""Time travel: any tick of a journal in any order, what changed in it, and which line did it."""

from __future__ import annotations

import json
import random
import textwrap

import pytest

import game
from tests.object_server import write_game
from tests.recorded_match import Match
from tests.recorded_rooms import DUEL, Recorded, recorded_duel
from tickstorm.games import catalogue
from tickstorm.games.simulation import CALL, DROP, JOIN, LEAVE, MOVE
from tickstorm.games.watched import facts, plain
from tickstorm.records.crowd_timeline import CrowdTimeline
from tickstorm.records.object_reel import ObjectReel
from tickstorm.records.query import Query
from tickstorm.records.timeline import Timeline

HIT = "        other.hp -= hard"


def line_of(source: str, text: str) -> int:
    return source[: source.index(text)].count("\n") + 1


@pytest.fixture(scope="module")
def duel(tmp_path_factory):
    path = write_game(tmp_path_factory.mktemp("duel"), DUEL, "duel.py")
    return catalogue.load(str(path)).first.game, path


@pytest.fixture
def played(duel, tmp_path):
    """Some seconds of a duel, and what there was after each tick."""
    game, _ = duel
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    recorded = Recorded(game, tmp_path / "1.journal", seed=seed)
    then = {0: plain(facts(recorded.simulation))}
    here: list[str] = []
    for tick in range(1, 400):
        events = []
        if chance.random() < 0.03 and len(here) < 4:
            here.append(f"p{tick}")
            events.append([JOIN, here[-1], f"N{tick}", "s", False])
        if here and chance.random() < 0.3:
            events.append([MOVE, chance.choice(here), [chance.choice((-1, 0, 1))]])
        if here and chance.random() < 0.1:
            whom = chance.choice(here).replace("p", "N")
            events.append([CALL, chance.choice(here), "hit", [whom, chance.randint(1, 9)], None])
        if here and chance.random() < 0.02:
            gone = here.pop(chance.randrange(len(here)))
            events += [[DROP, gone], [LEAVE, gone]]
        recorded.tick(*events)
        then[tick] = plain(facts(recorded.simulation))
        if tick % 170 == 0:
            recorded.checkpoint()
    return Timeline(game, ObjectReel(recorded.end(), "room")), then, chance


def held(moment: dict) -> dict:
    """By entity: what the moment says it holds."""
    inputs = {p["entity"]: p["input"] for p in moment["players"]}
    return {
        entity["id"]: entity["fields"]
        | ({"input": inputs[entity["id"]]} if entity["id"] in inputs else {})
        for entity in moment["entities"]
    }


def without_owner(rows: dict) -> dict:
    return {
        int(id): {k: v for k, v in row.items() if k != "owner" or v is not None}
        for id, row in rows.items()
    }


def test_each_tick_is_there_again_in_any_order(played):
    timeline, then, chance = played
    assert (timeline.first, timeline.last) == (0, 399)
    for tick in [0, 399, *(chance.randrange(400) for _ in range(60)), 200, 199, 198, 1, 2]:
        moment = timeline.moment(tick)
        assert moment["tick"] == tick and not moment["error"]
        assert held(moment) == without_owner(then[tick])
        assert moment["same"] is (True if tick else None)
    assert timeline.strays is None


def test_changes_are_all_there_is_between_one_tick_and_the_next(played):
    timeline, then, chance = played
    for tick in (chance.randrange(1, 400) for _ in range(60)):
        moment, state = timeline.moment(tick), without_owner(then[tick - 1])
        for act in moment["acts"]:
            for gone in act["went"]:
                del state[gone]
            for came in act["came"]:
                state[came] = None
            for change in act["changes"]:
                if state.get(change["entity"]) is not None:
                    state[change["entity"]][change["field"]] = change["after"]
        now = without_owner(then[tick])
        assert state.keys() == now.keys()
        assert all(row == now[id] for id, row in state.items() if row is not None)


@pytest.fixture
def hit(duel, tmp_path):
    """Ada and Bob; at tick 30 Bob hits Ada, who has less than 10 left after the hit at 50."""
    game, _ = duel
    return Timeline(game, ObjectReel(recorded_duel(game, tmp_path / "1.journal"), "room"))


def test_a_change_names_the_message_and_the_line_that_did_it(duel, hit):
    source = duel[1].read_text()
    moment = hit.moment(30)
    assert [event["what"] for event in moment["events"]] == ["hit"]
    assert moment["events"][0] | {} == {
        "kind": "call", "who": "b", "name": "Bob", "what": "hit",
        "values": {"whom": "Ada", "hard": 9},
    }  # fmt: skip
    message, step = moment["acts"]
    assert (message["what"], message["name"]) == ("message hit", "Bob")
    assert message["changes"][0] == {
        "entity": 1, "field": "hp", "before": 30, "after": 21,
        "line": f"duel.py:{line_of(source, HIT)}",
    }  # fmt: skip
    assert message["changes"][1]["after"] == ["Bob"]
    assert message["came"] == [3]
    assert step["what"] == "step" and {c["field"] for c in step["changes"]} == {"rage", "left"}
    assert moment["patch"] > 0


def test_inputs_answers_and_refusals_are_told_beside_what_they_did(hit):
    moment = hit.moment(50)
    move, message, step = moment["acts"]
    assert (move["what"], move["changes"][0]["after"]) == ("move", {"dx": 1})
    assert message["answer"] == {"refused": "nobody of that name", "bytes": 0}
    assert [c["field"] for c in step["changes"]][:2] == ["x", "rage"]
    boom = hit.moment(21)["acts"]
    assert [act["what"] for act in boom] == ["timer thunder", "step"]
    assert boom[0]["sent"][0]["name"] == "boom" and boom[0]["sent"][0]["values"] == [21]


def found(timeline: Timeline, text: str) -> list:
    return [row for row in timeline.search(Query.parse(text)) if not isinstance(row, int)]


def test_one_finds_when_something_came_about(hit):
    assert found(hit, "hp of Ada falls below 10") == [
        {"tick": 52, "entity": 1, "name": "Ada", "field": "hp", "before": 12, "after": 3}
    ]
    assert found(hit, "ada.hp < 10") == found(hit, "#1.hp < 10") == found(hit, "fighter.hp < 10")
    assert [row["tick"] for row in found(hit, "hp changes")] == [30, 51, 52]
    assert [row["tick"] for row in found(hit, "room.phase becomes fight")] == [1]
    assert [row["tick"] for row in found(hit, "boom")] == [21, 41, 61, 81]
    assert [row["tick"] for row in found(hit, "timer thunder")] == [21, 41, 61, 81]
    assert [(row["tick"], row["name"]) for row in found(hit, "message hit")][:2] == [
        (30, "Bob"), (50, "Bob"),
    ]  # fmt: skip
    assert found(hit, "join")[1]["name"] == "Bob"
    assert found(hit, "hp > words") == []
    for text, absent in (
        ("hp > words", ""),
        ("mana < 3", "Nothing has an attribute mana."),
        ("zoe.hp < 3", "Nothing called zoe has an attribute hp."),
    ):
        query = Query.parse(text)
        assert [row for row in hit.search(query) if not isinstance(row, int)] == []
        assert query.absent == absent
    with pytest.raises(ValueError, match="is not understood: say a condition, such as"):
        Query.parse("what happened to Ada")


def test_other_rules_are_told_from_what_happened(duel, hit, tmp_path):
    edited = tmp_path / "duel.py"
    edited.write_text(duel[1].read_text().replace("other.hp -= hard", "other.hp -= hard + 1"))
    timeline = Timeline(catalogue.load(str(edited)).first.game, hit.reel)
    assert timeline.moment(29)["same"] is True
    assert timeline.moment(30)["same"] is False and timeline.strays == 30


def test_a_rule_that_fails_is_shown_with_its_line(duel, hit, tmp_path):
    broken = tmp_path / "duel.py"
    broken.write_text(duel[1].read_text().replace(HIT, HIT + " / (self.tick - 51)"))
    timeline = Timeline(catalogue.load(str(broken)).first.game, hit.reel)
    moment = timeline.moment(51)
    assert moment["tick"] == 51 and "ZeroDivisionError" in moment["error"]
    assert moment["error"].startswith("message hit raised")
    later = timeline.moment(60)
    assert "ZeroDivisionError" in later["error"] and later["entities"] == []


def test_a_room_without_a_tick_has_its_past_too(tmp_path):
    rules = textwrap.dedent("""
        class Notes(Room):
            tick_hz = 0
            lines: list[str] = synced([])

            @message
            def write(self, player, words: str):
                self.lines.append(words)
    """)
    game = catalogue.load(str(write_game(tmp_path, rules, "notes.py"))).first.game
    recorded = Recorded(game, tmp_path / "1.journal")
    recorded.tick([8, 0.5], [JOIN, "a", "Ada", "s", False])
    recorded.tick([8, 9.25], [CALL, "a", "write", ["hello"], None])
    timeline = Timeline(game, ObjectReel(recorded.end(), "room"))
    moment = timeline.moment(2)
    assert moment["time"] == 9.25 and moment["acts"][0]["changes"][0]["after"] == ["hello"]
    assert timeline.moment(1)["entities"][0]["fields"]["lines"] == []
    assert timeline.overview()["marks"] == [[1, "join", "join", "Ada"], [2, "call", "write", "Ada"]]


def test_a_crowd_has_its_tables_at_any_tick(tmp_path):
    match = Match(tmp_path / "arena", checkpoint_s=1)
    names = {}
    for tick in range(1, 121):
        match.play(1)
        names[tick] = sorted(row[2] for row in match.sessions.values())
    match.end()
    timeline = CrowdTimeline(tmp_path / "arena", catalogue.load("game"))
    assert timeline.last == 120
    for tick in (100, 7, 101, 99, 120, 8):
        moment = timeline.moment(tick)
        players = [row["name"] for row in moment["entities"] if row["kind"] == game.KINDS[0].name]
        assert (moment["tick"], moment["same"], sorted(players)) == (tick, True, names[tick])
        came = [event["name"] for event in moment["events"] if event["kind"] == "join"]
        assert sorted(set(names[tick]) - set(names[tick - 1])) == sorted(came)
    assert json.dumps(timeline.overview()) and json.dumps(timeline.moment(50))
