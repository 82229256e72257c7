"""The client SDK in real browsers, against a real server."""

from __future__ import annotations

import pytest

from tests.live_server import ROOT, LiveServer
from tests.marks import mark

pytest_plugins = ["tests.browser", "tests.pages"]

JOIN = """async ([id, name, options]) => {
  const sdk = await import('/tickstorm.js');
  const room = window.room = await sdk.join('probe', {id, name, ...options});
  const log = window.log = [];
  for (const hook of ['onDrop', 'onReconnect', 'onLeave']) {
    room[hook]((...told) => log.push([hook, ...told]));
  }
  room.on('said', (...told) => log.push(['said', ...told]));
  room.onJoin(({name}) => log.push(['join', name]));
  room.onPart(({name}) => log.push(['part', name]));
  room.predict('walker', (me, {dx}, dt) => {
    me.x = Math.min(900, Math.max(0, me.x + dx * 260 * dt));
  });
  window.frames = [];
  window.held = {dx: 0};
  const frame = (now) => {
    requestAnimationFrame(frame);
    room.input = held;
    frames.push([now, ...room.sample(now).walker.map(({name, x}) => [name, x])]);
  };
  requestAnimationFrame(frame);
  return room.id;
}"""


@pytest.fixture(scope="module")
def server():
    with LiveServer(GAMES=f"{ROOT}/tests/sdk_game.py") as live:
        yield live


@pytest.fixture
def enter(server, visit):
    """`enter(name, room)`: a page in that room, or in a new one."""

    def come(name, room="", **options):
        page = visit(f"{server.page}healthz")
        page.evaluate(JOIN, [room, name, options])
        return page

    return come


@pytest.fixture
def two(enter):
    ada = enter("Ada")
    return ada, enter("Bob", ada.evaluate("room.id"))


def speeds(page, name: str) -> list[float]:
    """How fast a walker moved on the page, from frame to frame."""
    rows = page.evaluate(
        "(name) => frames.map(([now, ...all]) => [now, new Map(all).get(name)])", name
    )
    pairs = [(a, b) for a, b in zip(rows, rows[1:], strict=False) if None not in (a[1], b[1])]
    return [(b[1] - a[1]) / (b[0] - a[0]) * 1000 for a, b in pairs if b[0] > a[0]]


def test_both_see_the_same_room_and_nobody_another_hand(two):
    ada, bob = two
    for page in two:
        page.wait_for_function(
            "() => room.players.length === 2 && room.entities('card').length === 2"
        )
        assert page.evaluate("room.state.scores") == {"Ada": 0, "Bob": 0}
    assert ada.evaluate("room.players.map(({name, hand}) => [name, hand])") == [
        ["Ada", [1, 2, 3]],
        ["Bob", None],
    ]
    cards = "room.entities('card').map((c) => [c.owner.name, c.holder === c.owner, c.mine])"
    assert bob.evaluate(cards) == [["Ada", True, False], ["Bob", True, True]]
    assert ada.evaluate("log") == [["join", "Bob"]]


@pytest.mark.parametrize("net", ["fair", "far"])
def test_oneself_and_others_move_evenly(enter, net):
    ada = enter("Ada")
    bob = enter("Bob", ada.evaluate("room.id"), net=net)
    bob.wait_for_timeout(1500)
    bob.evaluate("held = {dx: 1}")
    bob.wait_for_timeout(900)
    for page in (ada, bob):
        page.evaluate("frames.length = 0")
    bob.wait_for_timeout(1000)
    own, seen = speeds(bob, "Bob"), speeds(ada, "Bob")
    print(f"{net}: own {min(own):.0f} to {max(own):.0f}, seen {min(seen):.0f} to {max(seen):.0f}")
    for found in (own, seen):
        found.sort()
        assert found
        # A clock that is being steered runs up to a tenth faster or slower.
        mark(f"slow frames, {net}, units/s", found[len(found) // 10], low=230)
        mark(f"fast frames, {net}, units/s", found[-len(found) // 10], high=290)
    bob.evaluate("held = {dx: 0}")
    bob.wait_for_timeout(800)
    places = [page.evaluate("room.players[1].x") for page in (ada, bob)]
    drawn = bob.evaluate("room.sample().walker.find(({mine}) => mine).x")
    assert places[0] == places[1] == pytest.approx(drawn, abs=1)


def test_messages_requests_and_refusals(two):
    ada, bob = two
    assert ada.evaluate("room.request('roll', 6)") == 6
    refused = "room.request('roll', %d).catch(({message}) => message)"
    assert ada.evaluate(refused % 13) == "not thirteen"
    assert "a whole number from 2 to 100" in ada.evaluate(refused % 1)
    bob.evaluate("room.send('say', 'hello')")
    ada.wait_for_function("() => room.state.log.length === 1")
    assert ada.evaluate("log.at(-1)") == ["said", "Bob", "hello"]


def test_who_is_refused_is_told_why(two, visit, server):
    ada, _ = two
    said = visit(f"{server.page}healthz").evaluate(
        """async (id) => {
          const {join} = await import('/tickstorm.js');
          const told = [];
          for (const [game, wanted] of [['probe', id], ['none', ''], ['probe', 'NOSUCHRM']]) {
            const joining = join(game, {id: wanted, name: 'Mallory'});
            await joining.catch(({message}) => told.push(message));
          }
          return told;
        }""",
        ada.evaluate("room.id"),
    )
    assert said == [
        "only friends", "game: one of probe", "There is no such room, or it has closed."
    ]  # fmt: skip


def test_a_spectator_sees_all_that_is_public(two, visit, server):
    ada, _ = two
    page = visit(f"{server.page}healthz")
    seen = page.evaluate(
        """async (id) => {
          const {watch} = await import('/tickstorm.js');
          const room = await watch(id, {game: 'probe'});
          return [room.me, room.spectator, room.players.map(({name, hand}) => [name, hand])];
        }""",
        ada.evaluate("room.id"),
    )
    assert seen == [None, True, [["Ada", None], ["Bob", None]]]


def test_a_reload_brings_back_the_same_player_and_a_copy_of_the_tab_does_not(two):
    ada, bob = two
    room, player = bob.evaluate("[room.id, room.playerId]")
    bob.reload()
    bob.evaluate(JOIN, [room, "Bob", {}])
    assert bob.evaluate("room.playerId") == player
    assert ada.evaluate("log.filter(([what]) => what === 'part')") == []
    # What a duplicate would get of the tab's storage holds no token.
    assert not any("token" in key for key in bob.evaluate("Object.keys(sessionStorage)"))


def test_who_is_put_out_or_leaves_is_told_once(two):
    ada, bob = two
    ada.evaluate("room.send('out', 'Bob')")
    bob.wait_for_function("() => room.status === 'closed'")
    assert bob.evaluate("log.filter(([what]) => what === 'onLeave').map(([, , why]) => why)") == [
        "be nice"
    ]
    ada.wait_for_function("() => room.players.length === 1")
    assert ada.evaluate("log.at(-1)") == ["part", "Bob"]
    ada.evaluate("room.leave()")
    assert ada.evaluate("[room.status, log.at(-1)]") == ["closed", ["onLeave", 1000, ""]]


def test_a_rule_that_fails_leaves_the_room_as_it_was(two):
    ada, bob = two
    bob.evaluate("room.send('say', 'before')")
    ada.wait_for_function("() => room.state.log.length === 1")
    assert "fail" in ada.evaluate("room.request('fail').catch(({message}) => message)")
    bob.evaluate("room.send('say', 'after')")
    for page in two:
        page.wait_for_function("() => room.state.log.length === 2")
        assert page.evaluate("room.players.length") == 2


def test_a_restart_of_the_server_is_a_pause(visit):
    with LiveServer(GAMES=f"{ROOT}/tests/sdk_game.py") as server:
        page = visit(f"{server.page}healthz")
        page.evaluate(JOIN, ["", "Ada", {}])
        page.evaluate("room.send('say', 'kept')")
        page.wait_for_function("() => room.state.log.length === 1")
        me = page.evaluate("window.me = room.me; room.playerId")
        server.stop()
        page.wait_for_function("() => room.status !== 'playing'")
        page.evaluate("room.send('say', 'meanwhile')")
        server.start()
        page.wait_for_function("() => room.status === 'playing' && room.state.log.length === 2")
        assert page.evaluate("[room.playerId, room.state.log]") == [me, ["kept", "meanwhile"]]
        told = page.evaluate("log.map(([what]) => what).filter((what) => what !== 'said')")
        assert told == ["onDrop", "onReconnect"]
        assert page.evaluate("room.me === me")  # the object is the same, too
        page.evaluate("held = {dx: 1}")
        page.wait_for_function("() => room.me.x > 200")


def test_a_crowd_comes_as_columns(visit):
    with LiveServer(GAMES=f"{ROOT}/examples/crowd/crowd.py") as server:
        page = visit(f"{server.page}healthz")
        kinds = page.evaluate(
            """async () => {
              const {joinOrCreate} = await import('/tickstorm.js');
              const room = window.room = await joinOrCreate('crowd', {name: 'Ada'});
              room.sample();
              await new Promise((done) => setTimeout(done, 500));
              return Object.entries(room.sample()).map(([name, {count, x}]) => [name, count, x[0]]);
            }"""
        )
        assert {name for name, count, x in kinds if count and x > 0} == {"fly", "lantern"}
        assert page.evaluate("room.status") == "playing"
        page.evaluate("room.leave()")
        assert page.evaluate("room.status") == "closed"
