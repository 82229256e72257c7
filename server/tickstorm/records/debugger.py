"""A debugger in the rule, at a tick of the past: `tickstorm journal debug FILE --tick N`."""

from __future__ import annotations

import inspect
import pdb
from bdb import BdbQuit
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ..games.simulation import CLOSE, RuleError, Simulation
from . import journal
from .crowd_timeline import CrowdTimeline
from .timeline import Timeline


class RuleDebugger(pdb.Pdb):
    """Python's own, which stops first in a line of the author's. `folder`: where those are."""

    def __init__(self, folder: Path, **how: Any):
        super().__init__(**how)
        self.prompt = "(rule) "
        self._folder = str(folder)
        self._waiting = True
        self.stopped = False

    def user_line(self, frame: FrameType) -> None:
        if self._waiting and not frame.f_code.co_filename.startswith(self._folder):
            self.set_step()
            return
        self._waiting, self.stopped = False, True
        super().user_line(frame)

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        if not self._waiting:
            super().user_call(frame, argument_list)

    def user_return(self, frame: FrameType, return_value: Any) -> None:
        if not self._waiting:
            super().user_return(frame, return_value)

    def user_exception(self, frame: FrameType, exc_info: Any) -> None:
        if not self._waiting:
            super().user_exception(frame, exc_info)


def debug(timeline: Timeline, tick: int, **how: Any) -> bool:
    """Run to the tick before, and then with a debugger through the rules of `tick`. False if no
    line of them ran. Raises ValueError if there is no such tick, RuleError if a rule fails on the
    way; `how` is for `pdb.Pdb`."""
    if tick not in timeline.reel.ticks:
        raise ValueError(
            f"tick {tick} is not on record; ticks {timeline.first + 1} to {timeline.last} are"
        )
    room: Simulation = timeline.at(tick - 1)
    if room.tick != tick - 1:
        raise ValueError(f"tick {tick} can't be reached: ticks are missing before it")
    events = timeline.reel.ticks[tick]
    return _stopped(timeline.game.room, how, room.advance, events, events != [[CLOSE]])


def debug_crowd(timeline: CrowdTimeline, tick: int, **how: Any) -> bool:
    """The same for a crowd's world."""
    place = timeline.reel.ticks.get(tick)
    world = timeline.at(tick - 1)
    if place is None or world.tick != tick - 1:
        raise ValueError(
            f"tick {tick} is not on record; ticks {timeline.first + 1} to {timeline.last} are"
        )
    record = timeline.reel.read(place)
    author = type(getattr(world, "rules_of", world))
    return _stopped(author, how, journal.step, timeline.game, world, record)


def _stopped(author: type, how: dict[str, Any], function: Callable[..., Any], *args: Any) -> bool:
    """Call it, and stop in the first line that stands where `author` does."""
    debugger = RuleDebugger(Path(inspect.getfile(author)).parent, **how)
    try:
        debugger.runcall(function, *args)
    except RuleError as error:
        if not isinstance(error.__cause__, BdbQuit):  # it was told to go on, and the rule failed
            raise
    return debugger.stopped
