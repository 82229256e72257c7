"""A room of objects watched again by the SDK, in a real browser: `replay` and `room.seek`."""

from __future__ import annotations

import pytest

from tests.object_server import ObjectServer, wait_for

pytest_plugins = ["tests.browser", "tests.pages"]

CLIMB = """
class Climber(Player):
    height: float = synced(0.0, step=0.5, smooth=True)
    secret: int = synced(7, to="owner")

class Climb(Room):
    tick_hz = 20
    player = Climber
    n: int = synced(0)

    def step(self, dt):
        self.n += 1
        for player in self.players:
            player.height += 1
        if self.n % 20 == 0:
            self.send("second", self.n // 20)
"""

OPEN = """async (name) => {
    const { replay } = await import("/tickstorm.js");
    const room = await replay(name, { name: "Eve" });
    const said = [];
    room.on("second", (second) => said.push([second, room.state.n]));
    Object.assign(window, { room, said });
}"""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("climb")
    with ObjectServer(folder, CLIMB, CHECKPOINT_SECONDS=1) as server:
        ada = server.join()
        ada.wait_for(lambda: ada.tick > 130, 20)
        ada.leave()
        wait_for(lambda: server.verify(ada.id) > 100)
        yield server, ada.id


@pytest.fixture
def viewer(played, visit):
    server, room = played
    page = visit(f"{server.page}tickstorm/room.js")  # any page of the server's
    page.evaluate(OPEN, room)
    return page


def at(page, tick: int) -> None:
    page.wait_for_function(f"() => room.tick === {tick} && room.replaying?.tick === {tick}")


def test_a_replay_plays_from_the_beginning_as_a_spectator_sees_it(viewer):
    assert viewer.evaluate("() => [room.spectator, room.me, room.game]") == [True, None, "climb"]
    viewer.wait_for_function("() => said.length >= 2")
    # With its tick, or with the next patch where the page was too busy for that one.
    seconds = viewer.evaluate("() => said.slice(0, 2)")
    assert [(second, n // 20) for second, n in seconds] == [(1, 1), (2, 2)]
    assert viewer.evaluate("() => [...room.players].map((one) => [one.name, one.secret])") == [
        ["Ada", None]
    ]
    first, last = viewer.evaluate("() => [room.replaying.first, room.replaying.last]")
    assert first == 0 and last > 130


def test_one_halts_and_seeks_both_ways_and_goes_on_faster(viewer):
    for tick in (100, 30, 110, 5):
        viewer.evaluate(f"() => room.seek(0, {tick})")
        at(viewer, tick)
        assert viewer.evaluate("() => [room.state.n, room.players[0].height]") == [tick, tick]
        # Drawn is that tick alone: nothing of what was shown before is drawn on.
        viewer.wait_for_function(
            f"() => Math.abs(room.sample().climber[0].height - {tick}) < 0.51", timeout=5_000
        )
    assert viewer.evaluate("() => room.replaying.speed") == 0
    viewer.evaluate("() => room.seek(4)")
    viewer.wait_for_function("() => room.tick > 100")
    assert viewer.evaluate("() => room.replaying.speed") == 4
    drawn = viewer.evaluate(
        "async () => { const seen = []; for (let i = 0; i < 20; i++) {"
        " seen.push(...room.sample().climber.map((one) => one.height));"
        " await new Promise(requestAnimationFrame); } return seen; }"
    )
    assert drawn == sorted(drawn)
    viewer.evaluate("() => room.leave()")
    viewer.wait_for_function("() => room.status === 'closed'")


def test_a_replay_that_is_not_there_is_refused_with_a_sentence(played, visit):
    server, _ = played
    page = visit(f"{server.page}tickstorm/room.js")
    refused = page.evaluate(
        "async () => { const { replay } = await import('/tickstorm.js');"
        " try { await replay('nothing'); } catch (error) { return [error.code, error.message]; } }"
    )
    assert refused == [4009, "there is no such replay"]
