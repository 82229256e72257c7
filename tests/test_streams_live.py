"""Rooms over plain HTTP, with the SDK in real browsers, through proxies that break WebSockets."""

from __future__ import annotations

import pytest

from tests.live_server import ROOT, LiveServer

pytest_plugins = ["tests.browser", "tests.pages", "tests.proxies"]

JOIN = """async ([id, name]) => {
  const sdk = await import('/tickstorm.js');
  const room = window.room = await sdk.join('probe', {id, name});
  const log = window.log = [];
  for (const hook of ['onDrop', 'onReconnect', 'onLeave']) {
    room[hook]((...told) => log.push([hook, ...told]));
  }
  room.on('said', (...told) => log.push(['said', ...told]));
  window.seen = new Set();
  const frame = (now) => {
    requestAnimationFrame(frame);
    for (const {name, x} of room.sample(now).walker) if (name !== room.me.name) seen.add(x);
  };
  requestAnimationFrame(frame);
  return room.id;
}"""


@pytest.fixture(scope="module")
def server():
    with LiveServer(GAMES=f"{ROOT}/tests/sdk_game.py") as live:
        yield live


@pytest.fixture
def enter(visit):
    """`enter(page, name, room)`: a browser in that room of the server at `page`, or in a new."""

    def come(where, name, room="", query=""):
        page = visit(f"{where}healthz{query}")
        page.set_default_timeout(20_000)
        page.evaluate(JOIN, [room, name])
        return page

    return come


def play(enter, server, page):
    """Everything that a stay consists of, beside a player with a WebSocket."""
    bob = enter(server.page, "Bob", page.evaluate("room.id"))
    assert bob.evaluate("room.transport") == "websocket"
    for each in (page, bob):
        each.wait_for_function("() => room.players.length === 2")
    assert page.evaluate("[room.me.hand, room.entities('card').length]") == [[1, 2, 3], 2]
    assert page.evaluate("room.request('roll', 6)") == 6
    page.evaluate("room.send('say', 'through the wall')")
    bob.wait_for_function("() => log.length === 1")
    bob.evaluate("room.send('say', 'and back')")
    for each in (page, bob):
        each.wait_for_function("() => log.length === 2")
    said = [["said", "Ada", "through the wall"], ["said", "Bob", "and back"]]
    assert page.evaluate("log") == bob.evaluate("log") == said
    page.evaluate("room.input = {dx: 1}")
    bob.wait_for_function("() => seen.size > 20")
    page.evaluate("room.input = {dx: 0}")
    bob.evaluate("room.input = {dx: 1}")
    page.wait_for_function("() => seen.size > 20")
    return bob


@pytest.mark.parametrize("way", ["sse", "polling"])
def test_who_is_forced_to_another_way_plays_like_all(server, enter, way):
    page = enter(server.page, "Ada", query=f"?transport={way}")
    assert page.evaluate("room.transport") == way
    assert server.health()["streams"] == {way: 1}
    bob = play(enter, server, page)
    page.evaluate("room.leave()")
    bob.wait_for_function("() => room.players.length === 1")  # at once, without the time of grace


@pytest.mark.parametrize(
    "habit, way", [("strips", "sse"), ("buffers", "polling"), ("hurries", "sse")]
)
def test_the_sdk_finds_the_way_through_a_proxy_that(proxies, server, enter, habit, way):
    page = enter(proxies.page[habit], "Ada")
    assert page.evaluate("room.transport") == way
    play(enter, server, page)


@pytest.mark.parametrize("way", ["sse", "polling"])
def test_a_proxy_without_patience_loses_nothing(proxies, enter, way):
    # A room whose players stand still says nothing for longer than this proxy waits.
    page = enter(proxies.page["hurries"], "Ada", query=f"?transport={way}")
    page.evaluate("new Promise((done) => setTimeout(done, 2500))")
    for number in range(3):
        page.evaluate(f"room.send('say', '{number}')")
    page.wait_for_function("() => log.length === 3")
    assert page.evaluate("log") == [["said", "Ada", str(number)] for number in range(3)]


@pytest.mark.parametrize("way", ["sse", "polling"])
def test_a_reload_resumes(server, enter, way):
    page = enter(server.page, "Ada", query=f"?transport={way}")
    room, player = page.evaluate("[room.id, room.playerId]")
    page.reload()
    page.evaluate(JOIN, ["", "Ada"])
    assert page.evaluate("[room.id, room.playerId, room.transport]") == [room, player, way]
