"""Found on PYTHONPATH by a server under test: gives worlds of one size a rule that takes long.

SLOW_SIZE is that size; SLOW_MS is what each of their steps takes in addition.
"""

import importlib.abc
import importlib.util
import os
import sys
import time


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

            def slow_step(world, commands):
                step(world, commands)
                if world.constants.size == int(os.environ["SLOW_SIZE"]):
                    until = time.perf_counter() + int(os.environ["SLOW_MS"]) / 1e3
                    while time.perf_counter() < until:
                        pass

            module.World.step = slow_step

        spec.loader.exec_module = execute_and_patch
        return spec


if "SLOW_MS" in os.environ:
    sys.meta_path.insert(0, Patch())
