"""What a crowd's tick works on, whether it is of one room or of many: seats, sockets, histories."""

from __future__ import annotations

from ..config import Config
from ..games.world import KindView
from ..protocol.layout import Layout
from ..replication.history import KindHistory
from ..replication.interest import Grid
from ..transport.connection import Connection
from ..transport.sockets import open_sockets
from .inputs import InputBuffer
from .meter import Meter
from .metrics import Metrics
from .seats import Seats
from .shedding import Shedding


class Deck:
    """`views`: of each kind, as `World.view` gives them; `seats`: for how many clients."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        views: list[KindView],
        grid: Grid,
        seats: int,
        meter: Meter | None,
        name: str,
    ):
        self.metrics = Metrics(meter, name)
        self.shedding = Shedding(config.tick_hz)
        self.seats = Seats(seats)
        self.connections: list[Connection | None] = [None] * seats
        self.inputs = InputBuffer(seats, layout.input_row)
        self.grid = grid
        self.histories = [
            KindHistory(kind, len(view.present), grid)
            for kind, view in zip(layout.game.KINDS, views, strict=True)
        ]
        self.sockets = open_sockets(config.sockets, self.connections, layout.input_frame)
        self.waiting: set[Connection] = set()
        """Connections with bytes that have yet to go out."""

    def grow(self) -> None:
        """Twice the seats."""
        more = self.seats.count
        self.seats.grow(more)
        self.inputs.grow(more)
        self.connections += [None] * more
        self.sockets.grow(more)
