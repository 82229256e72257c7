"""What the worker's thread runs: stacks taken by a thread of their own, a few hundred a second.

Off unless somebody switches it on, by the page or by ``kill -USR2 PID`` of the worker; off again
by itself. While it is on, each of the slowest ticks keeps the stacks of its time. All can be
looked at with https://www.speedscope.app, in whose format `speedscope` writes them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter, sleep, strftime
from types import FrameType
from typing import Any

log = logging.getLogger("tickstorm.profile")

EVERY_S = 0.004
"""Between two samples: a tick of 20 ms gets five."""

MOST_SAMPLES = 30_000
"""Samples kept, the last two minutes."""

MOST_FRAMES = 20_000
"""Functions known by name; beyond that, unknown ones are one."""

OFF_AFTER_S = 600.0
DEPTH = 60

Frame = tuple[str, str, int]
"""Function, file, line of its definition."""

Sample = tuple[float, tuple[int, ...]]
"""`perf_counter()`, and the stack, outermost first, as numbers of frames."""

_ROOT = str(Path(__file__).parents[3]) + os.sep
_IDLE = ("hub.py", "run")
"""gevent's hub waits in this function for something to happen."""


class Sampler:
    """Takes samples of the thread `thread`, by default of the one that makes it."""

    def __init__(self, thread: int | None = None, every_s: float = EVERY_S):
        self.every_s = every_s
        self.frames: list[Frame] = [("more functions", "", 0)]
        self.samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self.taken = 0
        self._thread = threading.get_ident() if thread is None else thread
        self._numbers: dict[Any, int] = {}
        self._until = 0.0
        self._runner: threading.Thread | None = None

    @property
    def on(self) -> bool:
        return self._runner is not None and self._until > perf_counter()

    def start(self, seconds: float = OFF_AFTER_S) -> None:
        """Take samples for so long; a second call only sets a new end."""
        self._until = perf_counter() + seconds
        if self._runner is None or not self._runner.is_alive():
            self._runner = threading.Thread(target=self._run, name="profile", daemon=True)
            self._runner.start()
            log.info("profile: samples are taken for %.0f s", seconds)

    def stop(self) -> None:
        self._until = 0.0

    def toggle(self, folder: Path) -> Path | None:
        """For a signal: switch it on; or off, and write what was taken into `folder`."""
        if not self.on:
            self.start()
            return None
        self.stop()
        path = folder / f"profile-{strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.speedscope.json"
        path.write_text(json.dumps(self.speedscope("profile", list(self.samples))))
        log.info("profile: %d samples are in %s", len(self.samples), path)
        return path

    def between(self, began: float, seconds: float) -> list[Sample]:
        """The samples from `began` (`perf_counter()`) on; empty if none were taken."""
        if not self.samples or self.samples[-1][0] < began:
            return []
        end = began + seconds
        found = []
        for sample in reversed(self.samples):
            if sample[0] < began:
                break
            if sample[0] <= end:
                found.append(sample)
        return found[::-1]

    def speedscope(self, name: str, samples: list[Sample]) -> dict[str, Any]:
        """A file for speedscope.app: times on the left axis are those of the samples."""
        weights = [
            min(later[0] - one[0], 10 * self.every_s)
            for one, later in zip(samples, samples[1:], strict=False)
        ] + [self.every_s] * bool(samples)
        return {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "exporter": "tickstorm",
            "activeProfileIndex": 0,
            "shared": {
                "frames": [{"name": f, "file": file, "line": line} for f, file, line in self.frames]
            },
            "profiles": [
                {
                    "type": "sampled",
                    "name": name,
                    "unit": "seconds",
                    "startValue": 0,
                    "endValue": round(sum(weights), 6),
                    "samples": [list(stack) for _, stack in samples],
                    "weights": [round(weight, 6) for weight in weights],
                }
            ],
        }

    # -------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while perf_counter() < self._until:
            sleep(self.every_s)
            frame = sys._current_frames().get(self._thread)
            if frame is not None:
                self._take(frame)
            del frame

    def _take(self, frame: FrameType) -> None:
        self.taken += 1
        code = frame.f_code
        if code.co_name == _IDLE[1] and code.co_filename.endswith(_IDLE[0]):
            return  # it waits, and nothing is late for that
        stack: list[int] = []
        at: FrameType | None = frame
        while at is not None and len(stack) < DEPTH:
            stack.append(self._number(at.f_code))
            at = at.f_back
        self.samples.append((perf_counter(), tuple(reversed(stack))))

    def _number(self, code: Any) -> int:
        known = self._numbers.get(code)
        if known is None:
            if len(self.frames) >= MOST_FRAMES:
                return 0
            known = self._numbers[code] = len(self.frames)
            file = code.co_filename.removeprefix(_ROOT)
            self.frames.append((code.co_qualname, file, code.co_firstlineno))
        return known


def folded(samples: Iterable[Sample], frames: list[Frame], name: Callable[[Frame], str]) -> Any:
    """The samples as a tree: ``{"name", "value", "children"}``, for a flame graph."""
    root: dict[str, Any] = {"name": "all", "value": 0, "children": {}}
    for _, stack in samples:
        at = root
        at["value"] += 1
        for number in stack:
            label = name(frames[number])
            at = at["children"].setdefault(label, {"name": label, "value": 0, "children": {}})
            at["value"] += 1

    def plain(node: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": node["name"],
            "value": node["value"],
            "children": [plain(child) for child in node["children"].values()],
        }

    return plain(root)
