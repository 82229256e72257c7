"""Own and others' shots on the page, against a server that is played by hand."""

from __future__ import annotations

import pytest

import game
from tickstorm.games.world import WorldSettings

pytest_plugins = ["tests.browser"]

SHOTS = """async ({kind, rules}) => {
  const {compile} = await import('/wire.js');
  const {KnownKind} = await import('/tickstorm/columns.js');
  const {Shots} = await import('/shots.js');
  const known = new KnownKind(compile([[kind], [], []]).kinds[0]);
  const shots = new Shots(known.kind, rules, 5);
  const scene = {count: 0, id: [], x: [], y: [], aim: [], own: []};
  const told = (tick, {left = [], entered = []}) => {
    known.leftCount = known.enteredCount = 0;
    for (const id of left) known.left[known.leftCount++] = id;
    for (const [id, row] of entered) {
      known.generation[id]++;
      for (const name in row) known.columns[name][id] = row[name];
      known.entered[known.enteredCount++] = id;
    }
    shots.apply(tick, known);
  };
  const replay = (...fired) => {
    shots.beginReplay();
    for (const shot of fired) shots.fired(...shot);
    shots.endReplay();
  };
  let clock = 0;
  const drawn = (own, others, struck = () => false) => {
    shots.sample(clock += 16, own, others, scene, struck, () => {});
    return Array.from({length: scene.count}, (_, i) => [scene.id[i], scene.x[i], scene.y[i]]);
  };
  return (%s)({shots, told, replay, drawn});
}"""


def shots_in_page(page, script: str):
    rules = game.create_world(WorldSettings(players=1, chosen={"orbs": 0}), seed=1).rules()
    kind = next(k for k in game.declaration()[0] if k[0] == "shot")
    return page.evaluate(SHOTS % script, {"kind": kind, "rules": rules})


def test_a_shot_that_the_server_did_not_fire_is_withdrawn(page):
    before, after, later = shots_in_page(
        page,
        """({told, replay, drawn, shots}) => {
          shots.fired(100, 9, 0, 500, 500, 0);
          const before = drawn(101, 95);
          told(99, {});
          replay([100, 9, 0, 500, 500, 0]);  // not used yet: fired again in the replay
          const after = drawn(102, 96);
          told(100, {});
          replay();  // used, and there is no such shot
          return [before, after, drawn(103, 97)];
        }""",
    )
    assert before[0] == pytest.approx([65535, 550, 500], abs=0.1)
    assert len(after) == 1
    assert later == []


def test_a_confirmed_shot_goes_on_where_it_was_drawn_and_ends_when_the_server_says(page):
    row = "{x: 1000, y: 1000, aim: 0, born: 100, owner: 5, seq: 9}"
    predicted, confirmed, gone = shots_in_page(
        page,
        f"""({{told, replay, drawn, shots}}) => {{
          shots.fired(100, 9, 0, 500.2, 500, 0);
          const predicted = drawn(103, 97);
          told(100, {{entered: [[7, {row}]]}});
          replay();
          const confirmed = drawn(103, 97);
          told(104, {{left: [7]}});
          replay();
          return [predicted, confirmed, drawn(107, 101)];
        }}""",
    )
    assert predicted[0][0] == 65535 and confirmed[0][0] == 7
    assert confirmed[0][1:] == pytest.approx(predicted[0][1:], abs=0.3)
    assert gone == []


def test_an_own_shot_stops_at_what_it_hits_on_the_screen_unless_the_server_disagrees(page):
    row = "{x: 1000, y: 1000, aim: 0, born: 100, owner: 5, seq: 9}"
    hit, hidden, passed = shots_in_page(
        page,
        f"""({{told, replay, drawn, shots}}) => {{
          shots.fired(100, 9, 0, 500, 500, 0);
          const hit = drawn(104, 98, () => true);
          told(103, {{entered: [[7, {row}]]}});
          replay();
          const hidden = drawn(105, 99, () => true);
          told(107, {{}});  // it should have been gone by now
          replay();
          return [hit, hidden, drawn(109, 103, () => true)];
        }}""",
    )
    assert (hit, hidden) == ([], [])
    assert [shot[0] for shot in passed] == [7]


def test_others_shots_fly_in_the_time_of_the_others(page):
    row = "{x: 1000, y: 1000, aim: 256, born: 100, owner: 6, seq: 1}"
    early, flying, ended = shots_in_page(
        page,
        f"""({{told, drawn}}) => {{
          told(101, {{entered: [[3, {row}]]}});
          const early = drawn(108, 99.5);
          const flying = drawn(110, 102);
          told(104, {{left: [3]}});
          return [early, flying, [drawn(111, 103), drawn(112, 104)]];
        }}""",
    )
    assert early == []
    assert flying[0][0] == 3 and flying[0][1:] == pytest.approx([500, 600], abs=0.1)
    assert len(ended[0]) == 1 and ended[1] == []
