"""Brains in a world without a network: for tests of how bots play."""

import numpy as np

from clients.bots.brain import TURN, Brain, Sight
from game.schema import SELF, STEP_COMMAND
from game.world import World

TICK_HZ = 20
NO_COMMANDS = np.zeros(0, STEP_COMMAND)


def arena(players, *, size=2048, orbs=0, seed=1):
    """A world at 20 Hz with that many ships in slots 0.. and one step done."""
    world = World(TICK_HZ, size, players, orbs, seed)
    for number in range(players):
        world.join(f"ship {number}", bot=True)
    world.step(NO_COMMANDS)
    return world


def see(world, slot, reach=900.0):
    """What the player in `slot` sees: all within `reach` along each axis, in wire precision."""
    ships, shots, orbs = world.view()
    x, y = world.ships.x[slot], world.ships.y[slot]

    def near(view):
        close = (np.abs(view.x - x) < reach) & (np.abs(view.y - y) < reach)
        return np.flatnonzero(view.present & close)

    ship, shot, orb = near(ships), near(shots), near(orbs)
    return Sight(
        tick=world.tick,
        slot=slot,
        own=dict(zip(SELF.names, world.self_rows(np.array([slot]))[0].item(), strict=True)),
        ship_id=ship.astype(np.uint16),
        ship_x=ships.mutable["x"][ship] * 0.5,
        ship_y=ships.mutable["y"][ship] * 0.5,
        ship_flags=ships.mutable["flags"][ship],
        ship_hp=ships.mutable["hp"][ship],
        orb_x=orbs.static["x"][orb] * 0.5,
        orb_y=orbs.static["y"][orb] * 0.5,
        orb_value=orbs.static["value"][orb],
        shot_x=shots.static["x"][shot] * 0.5,
        shot_y=shots.static["y"][shot] * 0.5,
        shot_angle=shots.static["aim"][shot] * (TURN / 1024),
        shot_age=(world.tick - shots.static["born"][shot].astype(np.int64)) & 0xFFFF,
        shot_owner=shots.static["owner"][shot],
    )


def brain_for(world, temperament, seed=1):
    return Brain(temperament, seed, world.rules(), world.constants.size)


def decide(brain, world, slot, heat=None):
    """The command of the ship in `slot` for the next tick."""
    if brain.thinks_at(world.tick):
        brain.think(see(world, slot)._replace(heat=heat), world.tick, world.tick + 1)
    return brain.command()


def commands(world, decided, view_delay=0):
    """STEP_COMMAND[m] of ``{slot: Command}``; `view_delay` in sixteenths of a tick."""
    rows = [
        (slot, world.tick & 0xFFFF, c.aim, c.move, c.buttons, view_delay, 0)
        for slot, c in decided.items()
    ]
    return np.array(rows, STEP_COMMAND)


def play(world, brains, ticks, each_tick=None):
    """Let ``{slot: Brain}`` play with no delay but that of a tick; returns all kills."""
    kills = []
    for _ in range(ticks):
        decided = {slot: decide(brain, world, slot) for slot, brain in brains.items()}
        world.step(commands(world, decided, view_delay=16))
        kills += world.feed()
        if each_tick is not None:
            each_tick()
    return kills
