"""What is hidden from somebody is in none of the bytes that they are sent: over real sockets."""

from __future__ import annotations

import msgspec
import pytest

from tests.object_server import ObjectServer
from tests.raw_client import connect, frame, upgrade
from tickstorm.client.session import CALL, HELLO

SECRET = """
class Seat(Player):
    hand: list[str] = synced([], to="owner")
    team: str = ""
    plan: str = synced("", to="team")

class Trap(Entity, to="owner"):
    word: str = synced("")

class Table(Room):
    tick_hz, player, kinds = 20, Seat, (Trap,)
    fog: str = synced("", to=lambda room, player: player.name == "Ada")

    def on_join(self, player):
        player.team = "red" if player.name in ("Ada", "Ann") else "blue"

    @message
    def hide(self, player, n: int):
        player.hand = ["HAND-one", f"HAND-{n}"]
        player.hand.append("HAND-more")
        player.plan = f"PLAN-{n}"
        self.fog = f"FOG-{n}"
        trap = self.spawn(Trap, owner=player, word=f"TRAP-{n}")
        trap.word += "-set"
        self.send("told", f"EVENT-{n}", to=player)

    @message
    def ask(self, player) -> str:
        return "ANSWER-only"
"""


class Raw:
    """Every byte that the server sends to one connection."""

    def __init__(self, server, room: str, name: str, **options):
        self.sock = connect(server.port)
        self.sock.sendall(upgrade(server.port, f"/ws?room={room}"))
        self.bytes = b""
        self.read_until(b"\r\n\r\n")
        self.say([HELLO, 1, 0, name, None, options])

    def say(self, message: list) -> None:
        self.sock.sendall(frame(msgspec.msgpack.encode(message)))

    def read_until(self, mark: bytes) -> None:
        while mark not in self.bytes:
            data = self.sock.recv(65536)
            assert data, self.bytes[-200:]
            self.bytes += data


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("table"), SECRET) as server:
        yield server


def test_nobody_elses_bytes_hold_a_secret_before_or_after_they_came_late(server):
    host = server.new_room("Host")
    room = host.id
    ada, ann, bob = (Raw(server, room, name) for name in ("Ada", "Ann", "Bob"))
    eye = Raw(server, room, "Eye", spectate=True)
    for one in (ada, ann, bob, eye):
        one.read_until(b"declaration")
    host.wait_for(lambda: len(host.players) == 4)
    for n in (111, 222):
        ada.say([CALL, "hide", [n], None])
        ada.say([CALL, "ask", [], n])
        ada.read_until(f"TRAP-{n}-set".encode())
    ada.read_until(b"ANSWER-only")
    late, late_eye = Raw(server, room, "Late"), Raw(server, room, "Late eye", spectate=True)
    host.wait_for(lambda: len(host.players) == 5)
    ann.read_until(b"PLAN-222")  # of her own team
    everyone = [bob, eye, late, late_eye, ann]
    for one in everyone:  # until what came after it is there
        one.say([6])
        one.say([4, 1234567.0])
        one.read_until(msgspec.msgpack.encode(1234567.0))
    for one in everyone:
        for secret in (b"HAND", b"TRAP", b"EVENT", b"FOG", b"ANSWER"):
            assert secret not in one.bytes
    for one in (bob, eye, late, late_eye):
        assert b"PLAN" not in one.bytes
    for secret in (b"HAND-222", b"HAND-more", b"PLAN-222", b"FOG-222", b"EVENT-222"):
        assert secret in ada.bytes
    host.leave()
