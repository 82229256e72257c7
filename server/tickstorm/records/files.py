"""JSON files of ours, read back with care: what is damaged or of another shape is set aside with a
message, and the server goes on as if there were none."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger("tickstorm.files")

T = TypeVar("T")

MOST_BYTES = 16 << 20
"""No file that this server writes is larger."""


def read_json(path: Path, shape: Callable[[Any], T]) -> T | None:
    """What `shape` makes of the file's content; None if there is no such file, or none of use.

    `shape` raises ValueError, TypeError or KeyError for what it doesn't know.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        return shape(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except OSError as error:
        log.error("%s can't be read: %s", path, error)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        set_aside(path, f"{type(error).__name__}: {error}")
    return None


def encodable(value: object) -> bool:
    """Is all text in it text that can be sent on? JSON can smuggle in lone surrogates.

    >>> encodable({"a": ["b"]}), encodable({"a": [chr(0xD800)]})
    (True, False)
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def set_aside(path: Path, reason: str) -> None:
    """Keep a damaged file for examination, under a name that nobody reads."""
    stamp = time.strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.name}.damaged-{stamp}-{os.urandom(2).hex()}")
    try:
        path.replace(target)
        log.error("%s is damaged (%s): set aside as %s", path, reason, target.name)
    except OSError as error:
        log.error("%s is damaged (%s), and can't be set aside: %s", path, reason, error)
