"""What all clients note of the snapshots they read, and the gaps between them."""

from __future__ import annotations

from array import array
from time import perf_counter

import numpy as np

from .frames import HEAD


class Snapshots:
    """Which connection read a snapshot, and when; and the newest head of each client.

    Columns to be filled in place: `sockets.py` does so for nearly all snapshots.
    """

    def __init__(self, clients: int):
        self.heads = np.zeros(clients, HEAD)
        self.heads_bytes = memoryview(self.heads.view(np.uint8))
        self.connection = np.zeros(clients, np.int32)  # number of each one's present connection
        self.read_by, self.read_at = array("i"), array("d")  # connection; time.perf_counter()

    def note_all(self, clients: np.ndarray, heads: np.ndarray | None) -> None:
        """One snapshot each, read by `clients`, int[n], just now; ``heads: uint8[n, HEAD]`` if
        they have any."""
        self.read_by.frombytes(self.connection[clients].tobytes())
        self.read_at.frombytes(np.full(len(clients), perf_counter()).tobytes())
        if heads is not None:
            rows = self.heads.view(np.uint8).reshape(len(self.heads), HEAD.itemsize)
            rows[clients] = heads

    def note(self, client: int, head: bytes | None) -> None:
        """One snapshot, read by `client` just now; `head` (a HEAD) if it has one."""
        self.read_by.append(int(self.connection[client]))
        self.read_at.append(perf_counter())
        if head is not None:
            self.heads[client] = np.frombuffer(head, HEAD, 1)[0]


def snapshot_gaps(
    read_by: np.ndarray,
    read_at: np.ndarray,
    begin: float,
    end: float,
    still_open: np.ndarray,
    tick_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds between consecutive snapshots of each connection.

    Args: `read_by`: int[m], connection that read a snapshot, in the order of reading;
    `read_at`: float64[m], when, seconds; `still_open`: bool[connections], there at the
    end. Counted are gaps that end between `begin` and `end`, and those of connections
    still open that by then have lasted longer than two ticks: silence shows.
    Returns: ``(connection: int[k], gap_ms: float64[k])``.
    """
    before = read_at <= end
    read_by, read_at = read_by[before], read_at[before]
    order = np.argsort(read_by, kind="stable")
    by, at = read_by[order], read_at[order]
    same = by[1:] == by[:-1]
    counted = same & (at[1:] >= begin)
    gap, owner = (at[1:] - at[:-1])[counted], by[1:][counted]

    last = np.append(by[1:] != by[:-1], len(by) > 0) if len(by) else np.zeros(0, bool)
    open_for = end - at[last]
    silent = (open_for > 2 * tick_s) & still_open[by[last]]
    return (
        np.concatenate([owner, by[last][silent]]),
        np.concatenate([gap, open_for[silent]]) * 1e3,
    )


def percentiles(values: np.ndarray, *wanted: float) -> list[float | None]:
    """Rounded percentiles; None for each when there is nothing to rank."""
    if not len(values):
        return [None for _ in wanted]
    return [round(float(value), 2) for value in np.percentile(values, wanted)]
