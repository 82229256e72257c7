"""Found on PYTHONPATH by a server under test: gives the arena a rule that never ends.

HANG_WITH names a ship in whose presence a step hangs, from HANG_AT ticks on; HANG_ONCE
is a file that is written first, and if it is there already nothing hangs.
"""

import importlib.abc
import importlib.util
import os
import sys


class Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "game.world":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            step = module.World.step

            def hanging_step(world, commands):
                if hangs(world):
                    while True:
                        pass
                step(world, commands)

            module.World.step = hanging_step

        spec.loader.exec_module = execute_and_patch
        return spec


def hangs(world) -> bool:
    once = os.environ.get("HANG_ONCE")
    if world.tick < int(os.environ["HANG_AT"]) or (once and os.path.exists(once)):
        return False
    if os.environ["HANG_WITH"].encode() not in world.ships.name:
        return False
    if once:
        open(once, "w").close()
    return True


if "HANG_AT" in os.environ:
    sys.meta_path.insert(0, Patch())
