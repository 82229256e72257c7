"""A worker dies, or the server restarts: rooms of objects go on as if nothing had happened."""

from __future__ import annotations

import re
from types import SimpleNamespace

import msgspec

from tests.object_server import HEAD, ObjectServer, back, wait_for
from tests.raw_client import frame
from tickstorm.client.session import CALL
from tickstorm.records import ledger as ledger_module
from tickstorm.records.journal.writer import Writer

CLOCK = """
class Mark(Entity):
    at: int = synced(0)
    cell: object = synced(None)

class Clock(Room):
    tick_hz, grace_s, capacity = 20, 30, 8
    rang: int = synced(0)
    kinds = (Mark,)
    marks: int = synced(0)
    taken: dict = {}
    drops: int = synced(0)
    fetched: list = synced([])

    def on_drop(self, player):
        self.drops += 1

    @message
    def ring_in(self, player, seconds: float):
        self.after(seconds, "ring", player)

    def ring(self, player):
        self.rang += 1
        self.send("rang", player.name)

    @message
    def mark(self, player, at: int) -> int:
        self.spawn(Mark, at=at, cell=(at, self.random.randint(1, 6)), owner=player)
        self.taken[at, "x"] = (at, player)
        self.marks += 1
        return self.marks

    @message
    def known(self, player, at: int) -> bool:
        return (at, "x") in self.taken and self.taken[at, "x"] == (at, player)

    @message
    def hang(self, player):
        import time
        self.fetch(time.sleep, 60.0, then="woken")

    def woken(self, result, error):
        self.fetched.append(error)

    @message
    def shout(self, player):
        for _ in range(3):
            self.send("loud", "x" * 60_000)

    @message
    def chance(self, player) -> int:
        return self.random.randint(0, 1 << 30)
"""


def state_of(client) -> dict:
    client.update(0.15)
    return {id: dict(record) for id, record in client.entities.items()}


def last_ticks(server) -> dict[str, int]:
    found = re.findall(r"room (\S+) is back at tick (\d+) with", server.log())
    return {room: int(tick) for room, tick in found}


def test_a_killed_workers_room_is_back_with_its_players_timers_and_state_twice(tmp_path):
    with ObjectServer(tmp_path, CLOCK, CHECKPOINT_SECONDS=5) as server:
        ada = server.new_room()
        ada.request("mark", 1)
        ada.update(5.5)  # there is a checkpoint now
        bob = server.join("Bob", room=ada.id)  # after it
        assert bob.request("mark", 2) == 2
        ada.send("ring_in", 1.5)
        ada.request("chance")
        drops = 0
        for _ in range(2):
            ada.update(0.1), bob.update(0.1)
            before, tick, me = state_of(ada), ada.tick, bob.me.id
            server.kill_worker()
            # It is back where the last tick was recorded: at most what was not written is missing.
            assert last_ticks(server)[ada.id] >= tick
            back(ada), back(bob)
            drops += 2
            bob.update(0.3), ada.update(0.3)
            assert bob.me.id == me and ada.session.welcome["resumed"]
            after = state_of(ada)
            assert {id: before[id] for id in before if id > 2} == {
                id: after[id] for id in before if id > 2
            }
            assert ada.state["marks"] == 2 and ada.state["drops"] == drops
            assert ada.request("known", 1) and bob.request("known", 2)
        ada.wait_for(lambda: ada.state["rang"] == 1)
        ada.leave(), bob.leave()
        assert server.starts() == 3
        wait_for(lambda: server.verify(ada.id) > 100)


def test_sighup_loses_nothing_that_the_room_has_answered(tmp_path):
    with ObjectServer(tmp_path, CLOCK) as server:
        ada = server.new_room()
        for at in range(19):
            ada.send("mark", at)
        assert ada.request("mark", 19) == 20
        server.reload()
        back(ada)
        ada.wait_for(lambda: ada.state["marks"] == 20)
        ada.leave()


def test_sighup_loses_nothing_that_has_come_whether_it_was_answered_or_not(tmp_path):
    with ObjectServer(tmp_path, CLOCK) as server:
        ada = server.new_room()
        for at in range(19):
            ada.send("mark", at)
            ada.update(0)
        server.reload()
        back(ada)
        ada.wait_for(lambda: ada.state["marks"] == 19)
        ada.leave()


def test_a_worker_dies_with_a_timer_due_a_request_open_a_full_socket_and_half_a_frame(tmp_path):
    with ObjectServer(tmp_path, CLOCK) as server:
        ada = server.new_room()
        slow, half = server.join("Slow", room=ada.id), server.join("Half", room=ada.id)
        whole = frame(msgspec.msgpack.encode([CALL, "mark", [7], None]))
        for _ in range(2):  # the second time it is a room that came back
            rang, marks = ada.state["rang"], ada.request("mark", 1)
            for _ in range(5):
                ada.send("shout")  # `slow` reads none of it
                ada.update(0.1)
            ada.send("ring_in", 0.5)
            ada.update(0.2)
            half.websocket.socket.sendall(whole[:9])
            ada.update(0.1)
            ada.send("mark", 2)  # answered or not, it is there or it is not, for all alike
            ada.update(0)
            server.kill_worker()
            back(ada), back(slow), back(half)
            ada.wait_for(lambda rang=rang: ada.state["rang"] == rang + 1)
            assert ada.state["marks"] in (marks, marks + 1), "half a message is none"
            half.request("mark", 7)
            ada.update(0.3), slow.update(0.3), half.update(0.3)
            assert slow.state["marks"] == ada.state["marks"] == half.state["marks"]
            assert state_of(slow) == state_of(ada)
            assert ada.state["rang"] == rang + 1, "once"
        ada.leave(), slow.leave(), half.leave()
        wait_for(lambda: server.verify(ada.id) > 20)


def test_a_fetch_of_a_worker_that_died_ends_with_an_error(tmp_path):
    with ObjectServer(tmp_path, CLOCK) as server:
        ada = server.new_room()
        ada.request("hang")
        ada.update(0.2)
        server.kill_worker()
        back(ada)
        ada.wait_for(lambda: list(ada.state["fetched"]) == ["the server has restarted"])
        ada.leave()


def test_a_room_whose_rules_have_changed_keeps_what_fits(tmp_path):
    with ObjectServer(tmp_path, CLOCK) as server:
        ada = server.new_room()
        ada.request("mark", 7)
        ada.send("ring_in", 0.5)
        ada.update(0.2)
        changed = CLOCK.replace(
            "marks: int = synced(0)", "marks: int = synced(0)\n    new: int = synced(5)"
        )
        changed = changed.replace("def ring(self, player)", "def chime(self, player)")
        changed = changed.replace('"ring", player', '"chime", player')
        server.rules.write_text(HEAD + changed)
        server.reload()
        back(ada)
        ada.update(1.0)
        assert ada.state["marks"] == 1 and ada.state["new"] == 5
        assert [mark["at"] for mark in ada.each("mark")] == [7]
        assert ada.request("mark", 8) == 2
        assert "what fits of it is kept" in server.log()
        ada.leave()


def test_who_left_just_before_a_kill_is_no_ghost(tmp_path):
    with ObjectServer(tmp_path, CLOCK) as server:
        ada, bob = (ada := server.new_room()), server.join("Bob", room=ada.id)
        bob.update(0.1)
        bob.leave()
        ada.wait_for(lambda: len(ada.players) == 1)
        ada.update(0.2)
        server.kill_worker()
        back(ada)
        ada.wait_for(lambda: len(ada.players) == 1)
        ada.leave()


def test_a_room_in_which_nothing_happens_is_in_every_new_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "SEGMENT_S", 0.0)
    writer = Writer()
    ledger = ledger_module.Ledger(writer, tmp_path / "objects")
    game = SimpleNamespace(name="clock", checksum=1, rules="")
    quiet = SimpleNamespace(id="quiet", game=game, capacity=8, ticks=1,
                            checkpoint=lambda: b"", playing=lambda: [])  # fmt: skip
    ledger.checkpoint(quiet)
    assert ledger.has("quiet")
    ledger.record("noisy", 1, [], 0)
    ledger.flush()  # it is time for a new segment
    assert not ledger.has("quiet")  # so the loop keeps it again
    ledger.close()
    writer.stop()


def test_the_ledger_of_a_stopped_server_verifies(tmp_path):
    with ObjectServer(tmp_path, CLOCK, CHECKPOINT_SECONDS=1) as server:
        ada = server.new_room()
        for at in range(5):
            ada.request("mark", at)
            ada.update(0.3)
        ada.leave()
        wait_for(lambda: server.verify(ada.id) >= 20)
