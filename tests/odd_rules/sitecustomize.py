"""Found on PYTHONPATH by a server under test: gives its worlds rules that no game should have.

* One that never ends: HANG_WITH names a ship in whose presence a step hangs, from HANG_AT
  ticks on; HANG_ONCE is a file that is written first, and if it is there already nothing hangs.
* One that ends the process: DIE_WITH names a ship in whose presence each step does, as soon as
  there is a file "now" in DATA_DIR.
* One that raises: RAISE_WITH names a ship in whose presence each step does.
* One that takes long: SLOW_MS is what each step takes in addition, in worlds of SLOW_SIZE.
"""

import importlib.abc
import importlib.util
import os
import sys
import time


class Patch(importlib.abc.MetaPathFinder):
    def raising(self, name):
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            step = module.Sea.step

            def odd_step(sea, commands):
                step(sea, commands)
                raising_rule(sea)

            module.Sea.step = odd_step

        spec.loader.exec_module = execute_and_patch
        return spec

    def find_spec(self, name, path=None, target=None):
        if name == "game.sea" and {"RAISE_WITH", "DIE_WITH"} & set(os.environ):
            return self.raising(name)
        if name != "game.world":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            step = module.World.step

            def odd_step(world, commands):
                hanging_rule(world)
                step(world, commands)
                slow_rule(world)

            module.World.step = odd_step

        spec.loader.exec_module = execute_and_patch
        return spec


def raising_rule(sea) -> None:
    if os.environ.get("RAISE_WITH", "-").encode() in sea.ships.name:
        raise RuntimeError("a rule that no game should have")
    mine = os.environ.get("DIE_WITH", "-").encode() in sea.ships.name
    if mine and os.path.exists(os.path.join(os.environ["DATA_DIR"], "now")):
        os._exit(1)


def hanging_rule(world) -> None:
    once = os.environ.get("HANG_ONCE")
    if "HANG_AT" not in os.environ or world.tick < int(os.environ["HANG_AT"]):
        return
    if os.environ["HANG_WITH"].encode() not in world.ships.name or (once and os.path.exists(once)):
        return
    if once:
        open(once, "w").close()
    while True:
        pass


def slow_rule(world) -> None:
    if "SLOW_MS" in os.environ and world.constants.size == int(os.environ["SLOW_SIZE"]):
        until = time.perf_counter() + int(os.environ["SLOW_MS"]) / 1e3
        while time.perf_counter() < until:
            pass


if {"HANG_AT", "SLOW_MS", "RAISE_WITH", "DIE_WITH"} & set(os.environ):
    sys.meta_path.insert(0, Patch())
