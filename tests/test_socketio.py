"""Rooms for Socket.IO: the real client from npm, in node and in Chromium, polling and upgraded."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.object_server import ObjectServer, wait_for
from tests.raw_client import connect, request

pytest_plugins = ["tests.browser", "tests.pages"]

ROOT = Path(__file__).parent.parent

RULES = """
class Walk(Input):
    dx: int = whole(-1, 1)

class Walker(Player):
    x: int = synced(0)
    hand: list[int] = synced([], to="owner")

class Card(Entity):
    value: int = synced(0)

class Walks(Room):
    player, input, grace_s = Walker, Walk, 30
    phase: str = synced("play")

    def on_join(self, player):
        player.hand = [1, 2]

    def step(self, dt):
        for player in self.players:
            player.x += player.input.dx

    @message(per_second=500)
    def say(self, player, words: str = text(200)):
        self.send("said", player, words)

    @message
    def put(self, player, value: int = whole(0, 9)):
        self.phase = "cards"
        self.spawn(Card, value=value)

    @message
    def roll(self, player, sides: int = whole(2, 100)) -> int:
        if sides == 13:
            raise Refuse("not thirteen")
        return sides

    @message
    def state(self, player):
        self.send("state", "mine")
"""


@pytest.fixture(scope="module")
def folder():
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(["sh", str(ROOT / "tests" / "socketio_client.sh")], capture_output=True,
                          text=True)  # fmt: skip
    if done.returncode:
        pytest.skip("socket.io-client can't be had: " + done.stderr[-200:])
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(
        tmp_path_factory.mktemp("walks"), RULES, SOCKETIO="on", HELLO_SECONDS=2
    ) as live:
        yield live


class Player:
    """The client in node."""

    def __init__(self, folder, url: str, parser: str = "json", options=None, **auth: object):
        how = json.dumps({"options": options or {}, "auth": {"name": "Ada", **auth}})
        self.process = subprocess.Popen(
            ["node", str(ROOT / "tests" / "socketio_player.mjs"), str(folder), url, how, parser],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._data = b""
        self.events: list[list] = []  # that nobody has looked at

    def do(self, *what: object) -> None:
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    def until(self, condition, seconds: float = 15) -> list:
        """The next event for which it is true; those before it are passed over."""
        until = time.monotonic() + seconds
        while True:
            while self.events:
                event = self.events.pop(0)
                if condition(event):
                    return event
            left = until - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], self.events
            *lines, self._data = (self._data + self.process.stdout.read(1 << 16)).split(b"\n")
            self.events += map(json.loads, lines)

    def event(self, name: str) -> list:
        """The next event of this name."""
        return self.until(lambda e: e[:2] == ["event", name])[2:]

    def answer(self, *what: object):
        self.do("ask", *what)
        return self.until(lambda e: e[0] == "answer")[1]

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def player(folder, server):
    players = []

    def come(*args, **how):
        players.append(Player(folder, server.page, *args, **how))
        return players[-1]

    yield come
    for one in players:
        one.stop()


WAYS = {
    "upgrade": {},
    "websocket": {"transports": ["websocket"]},
    "polling": {"transports": ["polling"]},
}


@pytest.mark.parametrize("parser", ["json", "msgpack"])
@pytest.mark.parametrize("way", WAYS)
def test_it_joins_speaks_is_answered_and_sees_the_state(server, player, way, parser):
    bob = server.new_room("Bob")
    ada = player(parser, WAYS[way], room=bob.id)
    name = ada.until(lambda e: e[0] == "connect")[1]
    assert way in ("upgrade", name)  # who may be upgraded is so sooner or later
    (welcome,) = ada.event("welcome")
    assert (welcome["room"], welcome["game"], welcome["resumed"]) == (bob.id, "walks", False)
    (state,) = ada.event("state")
    people = {row["name"]: row for row in state["entities"]}
    assert people["Ada"] == {"id": welcome["me"], "kind": "walker", "name": "Ada",
                             "connected": True, "x": 0, "hand": [1, 2]}  # fmt: skip
    assert "hand" not in people["Bob"] and state["room"]["phase"] == "play"
    assert ada.answer("roll", 6) == {"value": 6}
    assert ada.answer("roll", 13) == {"error": "not thirteen"}
    assert "no message" in ada.answer("fly", 1)["error"]
    assert "takes sides" in ada.answer("roll")["error"]
    ada.do("emit", "say", "hello")
    assert ada.event("said") == [{"entity": welcome["me"]}, "hello"]
    bob.send("put", 7)
    patch = ada.until(lambda e: e[:2] == ["event", "patch"] and "enters" in e[2])[2]
    assert patch["room"] == {"phase": "cards"}
    assert [(row["kind"], row["value"]) for row in patch["enters"]] == [("card", 7)]
    ada.do("emit", "input", {"dx": 1})
    bob.wait_for(lambda: any(p["name"] == "Ada" and p["x"] > 5 for p in bob.players))
    moved = ada.until(lambda e: e[:2] == ["event", "patch"] and "changes" in e[2])[2]["changes"]
    assert moved[0]["id"] == welcome["me"] and moved[0]["x"] > 0
    ada.do("emit", "leave")
    bob.wait_for(lambda: len(bob.players) == 1)
    assert ada.event("close") == [{"code": 1000, "reason": "left"}]
    bob.leave()


def test_polling_is_upgraded_without_a_gap(server, player):
    bob = server.new_room("Bob")
    ada = player(room=bob.id)
    first = ada.until(lambda e: e[0] == "upgrade" or e[:2] == ["event", "welcome"])
    upgraded = first[0] == "upgrade"
    if upgraded:
        ada.event("welcome")
    said, heard = 0, []
    while not upgraded or said < 40:
        bob.send("say", str(said))
        said += 1
        event = ada.until(lambda e: e[0] == "upgrade" or e[:2] == ["event", "said"])
        upgraded |= event == ["upgrade", "websocket"]
        heard += event[3:] if event[0] == "event" else []
    while len(heard) < said:
        heard.append(ada.event("said")[1])
    assert heard == [str(number) for number in range(said)]
    bob.leave()


@pytest.mark.parametrize("way", ["polling", "websocket"])
def test_it_comes_back_by_itself_as_the_same_player(server, player, way):
    bob = server.new_room("Bob")
    ada = player("json", WAYS[way], room=bob.id)
    (welcome,) = ada.event("welcome")
    ada.event("state")
    ada.do("cut")
    ada.until(lambda e: e[0] == "disconnect")
    (again,) = ada.event("welcome")
    assert again["resumed"] and (again["me"], again["id"]) == (welcome["me"], welcome["id"])
    assert len(ada.event("state")[0]["entities"]) == 2
    bob.leave()


def test_a_games_event_with_a_name_of_ours_is_told_apart(player):
    ada = player()
    ada.event("state")
    ada.do("ask", "state")
    assert ada.event("game:state") == ["mine"]  # what a rule sends comes before its answer
    assert ada.until(lambda e: e[0] == "answer") == ["answer", {"value": None}]


def test_a_room_that_is_not_there_ends_as_on_a_websocket_and_a_bad_value_is_refused(player):
    lost = player(room="nowhere")
    assert lost.event("close")[0]["code"] == 4009
    lost.until(lambda e: e[0] == "disconnect")
    ada = player()
    ada.event("state")
    assert "sides" in ada.answer("roll", "six")["error"]
    assert "value" in ada.answer("roll", 6)  # the stay goes on


def test_a_page_in_a_browser_joins_too(server, folder, visit, player):
    page = visit(f"{server.page}healthz")
    script = (folder / "node_modules/socket.io-client/dist/socket.io.esm.min.js").read_text()
    page.evaluate(_exports(script))
    page.evaluate(
        """() => {
          window.heard = [];
          window.socket = sio.io({ auth: { name: "Eve" } });
          socket.on("state", (state) => { window.state = state; });
          socket.onAny((name, ...args) => heard.push([name, ...args]));
        }"""
    )
    page.wait_for_function("() => window.state?.entities.some(({ name }) => name === 'Eve')")
    page.wait_for_function("() => socket.io.engine.transport.name === 'websocket'")
    assert page.evaluate("new Promise((done) => socket.emit('roll', 20, done))") == {"value": 20}


def _exports(script: str) -> str:
    """The module as a script that a test may evaluate."""
    body, _, names = script.rpartition("export{")
    pairs = [name.split(" as ") for name in names.partition("}")[0].split(",")]
    made = ",".join(f"{pair[-1]}:{pair[0]}" for pair in pairs if pair[-1] != "default")
    return f"(() => {{{body};window.sio={{{made}}};}})()"


def http(server, method: str, path: str, body: bytes = b"", **headers: str):
    fields = {"Host": f"127.0.0.1:{server.port}", "Content-Length": str(len(body)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    return request(server.port, "\r\n".join(lines).encode() + body)


def opened(server) -> str:
    status, headers, body = http(server, "GET", "/socket.io/?EIO=4&transport=polling")
    assert status == 200 and headers["x-content-type-options"] == "nosniff"
    return "/socket.io/?EIO=4&transport=polling&sid=" + json.loads(body[1:])["sid"]


HOSTILE = [
    b"\xff\xfe",
    b"9",
    b"4",
    b"4" + b"[" * 20000,
    b'42["roll"',
    b'40{"room":' + b"[" * 5000,
    b'4299999999-["x",{"_placeholder":true,"num":0}]',
    b"\x1e".join([b"2"] * 500),
    b'43["a"]',
    b'44{"message":"x"}',
    b'40/admin,{"a":1}',
    b'42["say","before joining"]',
]


@pytest.mark.parametrize("data", HOSTILE, ids=[repr(data[:12]) for data in HOSTILE])
def test_bad_bytes_end_one_client_and_nobody_else(server, data):
    bob = server.new_room("Bob")
    path = opened(server)
    # Each is answered: nothing waits for a client that will never ask.
    assert http(server, "POST", path, data)[0] in (200, 400)
    assert http(server, "POST", path, b'40{"name":"after"}')[0] in (200, 400)
    assert http(server, "POST", path, b'42["roll",' + data)[0] in (200, 400)
    assert bob.request("roll", 5) == 5
    bob.leave()


def test_limits_and_rules_for_requests(server):
    assert http(server, "POST", opened(server), bytes(70000))[0] == 413
    evil = {"Origin": "https://evil.example"}
    assert http(server, "POST", opened(server), b"40", **evil)[0] == 403
    assert http(server, "GET", "/socket.io/?EIO=4&transport=polling", **evil)[0] == 403
    assert http(server, "GET", "/socket.io/?EIO=3&transport=polling")[0] == 400
    assert http(server, "GET", "/socket.io/?EIO=4&transport=polling&sid=nobody")[0] == 400
    assert http(server, "PUT", "/socket.io/?EIO=4&transport=polling")[0] == 405


def test_many_who_never_join_are_turned_away_and_forgotten(server):
    first = opened(server)
    statuses = [http(server, "GET", "/socket.io/?EIO=4&transport=polling")[0] for _ in range(140)]
    assert statuses.count(503) >= 10 and statuses[0] == 200
    wait_for(lambda: http(server, "GET", first)[0] == 400, 20)
    wait_for(lambda: http(server, "GET", "/socket.io/?EIO=4&transport=polling")[0] == 200, 20)


def test_a_client_that_does_not_read_holds_up_nobody(server):
    bob = server.new_room("Bob")
    path = opened(server)
    assert http(server, "POST", path, b"40" + json.dumps({"room": bob.id}).encode())[0] == 200
    bob.wait_for(lambda: len(bob.players) == 2)
    sock = connect(server.port)  # asks, and never takes the answer
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(20):
        bob.send("say", "x" * 100)
    bob.input(dx=1)
    bob.wait_for(lambda: bob.me["x"] > 60)
    assert bob.request("roll", 5) == 5
    sock.close()
    bob.leave()
