"""What the page does after each close code, against a real WebSocket server that says only that."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from tests.live_server import LiveServer
from tests.marks import mark

pytest_plugins = ["tests.browser"]

PROTOCOL = Path(__file__).parent.parent / "PROTOCOL.md"

CONNECT = """async ([url, token]) => {
  const {Connection} = await import('/tickstorm/connection.js');
  const statuses = window.statuses = [];
  if (token) sessionStorage.setItem(`tickstorm.token ${url}`, token);
  window.connection = new Connection({
    url, onMessage: () => {}, onStatus: ({state, text}) => statuses.push([state, text]),
  });
  connection.connect('Ada');
}"""


@contextmanager
def closing_with(code: int):
    """A server that takes HELLO and closes; yields its URL and the HELLOs with their times."""
    hellos: list[tuple[float, list]] = []

    def answer(socket):
        try:
            hellos.append((time.monotonic(), msgpack.unpackb(socket.recv())))
            socket.close(code, "because")
        except ConnectionClosed:
            pass

    with serve(answer, "127.0.0.1", 0, subprotocols=["tickstorm.1"]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        host, port = server.socket.getsockname()
        yield f"ws://{host}:{port}/ws", hellos
        server.shutdown()
        thread.join(5)


def documented() -> dict[int, str]:
    """Close codes of PROTOCOL.md, with what a client should do."""
    rows = re.findall(r"^\| (\d{4}) \| .* \| (.*) \|$", PROTOCOL.read_text(), re.MULTILINE)
    return {int(code): action for code, action in rows}


@pytest.mark.parametrize("code", sorted(documented()))
def test_the_page_does_after_a_close_what_the_protocol_says(page, code):
    action = documented()[code]
    again = re.search("reconnect|again later|slow down|join without", action) is not None
    with closing_with(code) as (url, hellos):
        page.evaluate(CONNECT, [url, "old token"])
        page.wait_for_function("() => /reconnecting|closed/.test(statuses.at(-1)[0])")
        state, text = page.evaluate(
            "() => statuses.find(([state]) => /reconnecting|closed/.test(state))"
        )
        token = page.evaluate("(url) => sessionStorage.getItem(`tickstorm.token ${url}`)", url)
        page.evaluate("() => connection.leave()")
    assert state == ("reconnecting" if again else "closed"), action
    assert hellos[0][1][:5] == [1, 1, 0, "Ada", "old token"]
    assert text, "a person can read what happened"
    assert (token is None) == (code in (4007, 4009, 4010, 4011)), "only a token that is over"
    if "report" in action:
        assert "report" in text
    if "reload" in action:
        assert "reload" in text


def test_the_delay_between_attempts_doubles_from_half_a_second(page):
    with closing_with(4008) as (url, hellos):
        page.evaluate(CONNECT, [url, None])
        page.wait_for_timeout(6500)
        page.evaluate("() => connection.leave()")
    gaps = [b - a for (a, _), (b, _) in zip(hellos, hellos[1:])]
    assert 2 <= len(gaps) <= 5
    for n, gap in enumerate(gaps):
        assert gap > 0.5 * 2**n - 0.1
        mark("waiting before a new attempt, s", gap, high=2**n + 0.5)


def test_a_refused_token_is_forgotten_and_the_page_joins_without_it_at_once(page):
    with closing_with(4007) as (url, hellos):
        page.evaluate(CONNECT, [url, "forged"])
        page.wait_for_timeout(700)
        page.evaluate("() => connection.leave()")
    assert [hello[4] for _, hello in hellos[:2]] == ["forged", None]
    assert hellos[1][0] - hellos[0][0] < 0.5


def test_when_the_network_returns_the_page_does_not_wait_for_its_timer(page):
    with closing_with(1013) as (url, hellos):
        page.evaluate(CONNECT, [url, None])
        page.wait_for_function("() => statuses.at(-1)[0] === 'reconnecting'")
        page.evaluate("() => dispatchEvent(new Event('online'))")
        page.wait_for_timeout(500)
        page.evaluate("() => connection.leave()")
    assert len(hellos) == 2


def test_a_second_tab_with_the_same_token_takes_over_and_the_first_stays_away(page):
    with LiveServer(ALLOWED_ORIGINS="*") as server:
        page.evaluate(CONNECT, [server.url, None])
        page.wait_for_function("() => statuses.at(-1)[0] === 'playing'")
        page.evaluate("() => { window.first = [connection, statuses]; }")
        page.evaluate(CONNECT, [server.url, None])
        page.wait_for_function("() => statuses.at(-1)[0] === 'playing'")
        page.wait_for_function("() => first[1].at(-1)[0] === 'closed'")
        assert "another tab" in page.evaluate("() => first[1].at(-1)[1]")
        assert server.health()["players"] == 1
        page.evaluate("() => connection.leave()")


def test_an_unreadable_message_is_answered_with_a_request_for_a_full_snapshot(page):
    heard: list = []

    def babble(socket):
        try:
            socket.recv()
            socket.send(b"\xc1")
            heard.append(msgpack.unpackb(socket.recv(timeout=3)))
            socket.send(b"\xc1")
            socket.send(b"\xc1")
            socket.recv(timeout=3)
            socket.recv(timeout=3)
        except ConnectionClosed:
            heard.append("gone")

    with serve(babble, "127.0.0.1", 0, subprotocols=["tickstorm.1"]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        host, port = server.socket.getsockname()
        page.evaluate(CONNECT, [f"ws://{host}:{port}/ws", None])
        page.wait_for_function("() => statuses.at(-1)[0] === 'reconnecting'", timeout=5000)
        page.evaluate("() => connection.leave()")
        server.shutdown()
        thread.join(5)
    assert heard[0] == [6] and "gone" in heard
