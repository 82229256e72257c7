"""`movement.js` against `movement.py`, and prediction against the real world: bit for bit."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import game
from game.movement import DIRECTION_X, DIRECTION_Y, MovementRules, move
from game.schema import BUTTON_FIRE, SELF, STEP_COMMAND, quantise
from tickstorm.games.world import WorldSettings

pytest_plugins = ["tests.browser"]

SHIPS = 4096
TICKS = 60


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def decoded(text: str, dtype) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


BYTES = """
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const text = (array) => {
      let out = '';
      for (const byte of new Uint8Array(array.buffer)) out += String.fromCharCode(byte);
      return btoa(out);
    };
"""


def test_both_languages_have_the_same_table_of_directions(page):
    x, y = page.evaluate(
        f"""async () => {{{BYTES}
          const {{DIRECTION_X, DIRECTION_Y}} = await import('/movement.js');
          return [text(DIRECTION_X), text(DIRECTION_Y)];
        }}"""
    )
    assert decoded(x, "<f4").tobytes() == DIRECTION_X.tobytes()
    assert decoded(y, "<f4").tobytes() == DIRECTION_Y.tobytes()


@pytest.mark.parametrize("tick_hz", [10, 20, 30, 60])
def test_thousands_of_random_flights_end_in_the_same_bits(page, tick_hz):
    rules = MovementRules.at(tick_hz, 1024)
    rng = np.random.default_rng(tick_hz)
    state = np.empty((5, SHIPS), np.float32)
    state[:2] = rng.uniform(rules.low, rules.high, (2, SHIPS))
    state[2:4] = rng.uniform(-900, 900, (2, SHIPS))
    state[4] = rng.uniform(0, 100, SHIPS)
    state[:2, : SHIPS // 8] = rng.choice([rules.low, rules.high], (2, SHIPS // 8))  # at the edge
    direction = rng.integers(0, 256, (TICKS, SHIPS), np.uint8)
    buttons = rng.integers(0, 8, (TICKS, SHIPS), np.uint8)

    expected = state
    boosted = np.empty((TICKS, SHIPS), bool)
    bounced = 0
    for tick in range(TICKS):
        before = expected
        *after, boosted[tick] = move(*before, direction[tick], buttons[tick], rules)
        expected = np.array(after)
        bounced += np.count_nonzero(expected[2] * before[2] < 0)
    assert 0.1 < boosted.mean() < 0.9 and bounced > 100, "the flights boost and bounce"

    got, got_boosted = page.evaluate(
        f"""async ([state, direction, buttons, rules, ships, ticks]) => {{{BYTES}
          const {{move, movementRules}} = await import('/movement.js');
          const values = new Float32Array(bytes(state).buffer);
          [direction, buttons, rules] = [bytes(direction), bytes(buttons), movementRules(rules)];
          const boosted = new Uint8Array(ticks * ships);
          for (let i = 0; i < ships; i++) {{
            const [x, y, vx, vy, energy] = [0, 1, 2, 3, 4].map((c) => values[c * ships + i]);
            const ship = {{x, y, vx, vy, energy, boosting: false}};
            for (let t = 0; t < ticks; t++) {{
              move(ship, direction[t * ships + i], buttons[t * ships + i], rules);
              boosted[t * ships + i] = ship.boosting ? 1 : 0;
            }}
            for (const [c, name] of ['x', 'y', 'vx', 'vy', 'energy'].entries()) {{
              values[c * ships + i] = ship[name];
            }}
          }}
          return [text(values), text(boosted)];
        }}""",
        [
            encoded(state),
            encoded(direction),
            encoded(buttons),
            {name: float(value) for name, value in vars(rules).items()},
            SHIPS,
            TICKS,
        ],
    )
    assert np.array_equal(decoded(got_boosted, "?").reshape(TICKS, SHIPS), boosted)
    different = decoded(got, "<u4") != expected.ravel().view("<u4")
    assert not different.any(), f"{np.count_nonzero(different)} of {different.size} values differ"


def test_the_predicted_ship_and_its_shots_are_those_of_the_world(page):
    """A pilot at the trigger for ten minutes: no state and no shot differs, gun by gun."""
    ticks = 12_000
    world = game.create_world(WorldSettings(20, 4, {"size": 2048, "orbs": 0}), seed=3)
    slot = world.join("ada", bot=False)
    rng = np.random.default_rng(11)
    commands = np.zeros(ticks, STEP_COMMAND)
    commands["slot"] = slot
    commands["seq"] = np.arange(1, ticks + 1)
    held = np.repeat(rng.integers(0, 1024, ticks // 20), 20)
    commands["aim"], commands["move"] = rng.integers(0, 1024, ticks), held % 256
    commands["buttons"] = np.repeat(rng.integers(0, 8, ticks // 10), 10)
    silent = rng.random(ticks) < 0.1  # commands that never came
    silent[5000:5040] = True

    world.step(np.zeros(0, STEP_COMMAND))
    start = world.self_rows(np.array([slot]))
    states = np.zeros(ticks, SELF)
    shots = []
    for i in range(ticks):
        world.ships.power[slot] = i // 3000  # every gun has its turn
        world.step(commands[i : i + 1] if not silent[i] else commands[:0])
        states[i] = world.self_rows(np.array([slot]))[0]
        table = world.view()[1]
        fired = np.flatnonzero(table.present & (table.born == world.tick))
        shots += [(world.tick, *map(int, table.static[s].item())) for s in fired]
    assert len(shots) > 2000 and (commands["buttons"] & BUTTON_FIRE).any()

    got_states, got_shots = page.evaluate(
        f"""async ([rules, start, commands, silent, firstTick]) => {{{BYTES}
          const {{Prediction}} = await import('/prediction.js');
          const {{struct}} = await import('/wire.js');
          const {{self, command}} = {_layouts()};
          const [selfRow, commandRow] = [struct(self), struct(command)];
          const view = (text) => new DataView(bytes(text).buffer);
          const shots = [];
          const prediction = new Prediction(rules, (...shot) => shots.push(shot));
          prediction.reconcile(firstTick, 0, selfRow.read(view(start), 0));
          const table = view(commands);
          const absent = bytes(silent);
          const states = new Float32Array(absent.length * 6);
          for (let i = 0; i < absent.length; i++) {{
            prediction.ship.power = Math.floor(i / 3000);
            const c = commandRow.read(table, i * commandRow.size);
            // What is skipped here is caught up with by the next command.
            if (absent[i] === 0) prediction.command(firstTick + 1 + i, c.aim, c.move, c.buttons);
            const {{x, y, vx, vy, energy, cooldown}} = prediction.ship;
            states.set([x, y, vx, vy, energy, cooldown], i * 6);
          }}
          return [text(states), shots];
        }}""",
        [
            world.rules(),
            encoded(start),
            encoded(commands),
            encoded(silent.astype("u1")),
            int(world.tick - ticks),
        ],
    )
    heard = ~silent
    got = decoded(got_states, "<f4").reshape(ticks, 6)[heard]
    for column, name in enumerate(["x", "y", "vx", "vy", "energy", "cooldown"]):
        expected = states[name][heard].astype("<f4")
        assert np.array_equal(got[:, column], expected), f"{name} differs"
    wanted = [(tick, aim, x, y) for tick, x, y, aim, *_ in shots]
    told = [
        (tick, aim, *quantise(np.float32([x, y])).tolist()) for tick, _, _, x, y, aim in got_shots
    ]
    assert sorted(told) == sorted(wanted)


def _layouts() -> str:
    """The declared fields of SELF and STEP_COMMAND as JavaScript."""
    _, own, _ = game.declaration()
    command = [[name, STEP_COMMAND[name].str.lstrip("<|")] for name in STEP_COMMAND.names]
    return json.dumps({"self": own, "command": command})
