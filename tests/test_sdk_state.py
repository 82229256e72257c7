"""Whatever a room does, a page knows exactly what its player may see: the SDK against the encoder
and brute force."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.wild_room import GAME, payload_of, seen_by
from tickstorm.client.state import Ref
from tickstorm.games.simulation import JOIN, LEAVE, Simulation
from tickstorm.protocol import objects
from tickstorm.replication.patches import pack

KNOWN = Path(__file__).parent.parent / "clients" / "js" / "test" / "known.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("seed", range(6))
def test_a_page_knows_what_its_player_may_see(seed):
    frames, expected = played(seed)
    told = {
        "declaration": GAME.declaration(),
        "frames": [base64.b64encode(frame).decode() for frame in frames],
    }
    done = subprocess.run(
        ["node", str(KNOWN)], input=json.dumps(told), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for at, (known, seen) in enumerate(zip(json.loads(done.stdout), expected, strict=True)):
        assert set(known) == {str(id) for id in seen}, f"seed {seed} frame {at}"
        for id, row in seen.items():
            # A field that isn't shown is null.
            wanted = dict.fromkeys(known[str(id)]) | {k: plain(v) for k, v in row.items()}
            found = {name: blurred(value) for name, value in known[str(id)].items()}
            assert found == wanted, f"seed {seed} frame {at} entity {id}"


def played(seed: int) -> tuple[list[bytes], list[dict]]:
    """What a player gets of a wild room, and what it should know after each message; now and
    then it is too slow for one, and gets all of it with the next."""
    chance = random.Random(seed)
    simulation = Simulation(GAME, {}, seed)
    told: dict = {}
    fresh = True
    frames, expected = [], []
    for _ in range(250):
        events: list[list[Any]] = [
            [JOIN, id, id.upper(), "s", False]
            for id in "abc"
            if id not in simulation.players and chance.random() < 0.1
        ]
        events += [
            [LEAVE, id] for id in "ac" if id in simulation.players and chance.random() < 0.01
        ]
        simulation.advance(events)
        parts, body = simulation.replica.patch()
        full = simulation.replica.full()
        player = simulation.players.get("b")
        if player is None or chance.random() < 0.05:
            fresh = True
            continue
        if fresh:
            told = {}
            hidden = simulation.replica.hidden(player, told)
            frame = objects.state(simulation.tick, None, full, hidden)
        else:
            hidden = simulation.replica.hidden(player, told)
            frame = objects.patch(pack(simulation.tick), None, parts, body, hidden)
        fresh = False
        frames.append(payload_of(frame))
        expected.append(seen_by(simulation, player))
    assert frames
    return frames, expected


def plain(value: Any, inside: bool = False) -> Any:
    """As `known.mjs` says it. A list holds the entity that was there when it came, so of
    references in one it counts only that they are."""
    if isinstance(value, Ref):
        return "entity" if inside else {"ref": value.id}
    if isinstance(value, dict):
        return {str(key): plain(item, True) for key, item in value.items()}
    if isinstance(value, list):
        return ["entity" if item is None else plain(item, True) for item in value]
    return value


def blurred(value: Any, inside: bool = False) -> Any:
    if isinstance(value, dict):
        if set(value) == {"ref"}:
            return "entity" if inside else value
        return {key: blurred(item, True) for key, item in value.items()}
    if isinstance(value, list):
        return ["entity" if item is None else blurred(item, True) for item in value]
    return value
