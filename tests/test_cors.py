"""The API from pages of other sites: those that ALLOWED_ORIGINS names, and no others."""

from __future__ import annotations

import pytest

from tests.live_server import LiveServer
from tests.raw_client import request

pytest_plugins = ["tests.browser", "tests.pages"]

PLAY = """
async ([page, url]) => {
  const say = (path, method, body) => fetch(page + path, {
    method, headers: {"Content-Type": "application/json"}, body: body && JSON.stringify(body),
  });
  const list = await (await say("api/rooms", "GET")).json();
  const place = await (await say("api/join", "POST", {room: list.rooms[0].room})).json();
  const refused = await say("api/join", "POST", {room: "nowhere"});
  const socket = new WebSocket(place.url, "tickstorm.1");
  const open = await new Promise((done) => {
    socket.onopen = () => done(true);
    socket.onerror = () => done(false);
  });
  socket.close();
  return [list.rooms[0].room, typeof place.ticket, refused.status, open];
}
"""


def options(port: int, origin: str, path: str = "/api/join") -> tuple[int, dict[str, str], bytes]:
    lines = [f"OPTIONS {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Origin: {origin}",
             "Access-Control-Request-Method: POST",
             "Access-Control-Request-Headers: content-type", "", ""]  # fmt: skip
    return request(port, "\r\n".join(lines).encode())


def test_a_page_of_an_allowed_origin_lists_joins_and_plays(visit, web):
    with LiveServer(ALLOWED_ORIGINS=web) as live:
        page = visit(f"{web}/blank.html")
        assert page.evaluate(PLAY, [live.page, live.url]) == ["arena", "string", 404, True]


def test_a_page_of_any_other_origin_can_do_nothing(visit, web):
    with LiveServer(ALLOWED_ORIGINS="https://elsewhere.example") as live:
        page = visit(f"{web}/blank.html")
        with pytest.raises(Exception, match="Failed to fetch"):
            page.evaluate(PLAY, [live.page, live.url])


def test_a_preflight_says_what_an_allowed_page_may_ask_for():
    with LiveServer(ALLOWED_ORIGINS="https://friend.example") as live:
        status, headers, _ = options(live.port, "https://friend.example")
        assert status == 204
        assert headers["access-control-allow-origin"] == "https://friend.example"
        assert "POST" in headers["access-control-allow-methods"]
        assert "content-type" in headers["access-control-allow-headers"].lower()
        assert headers["vary"] == "Origin"
        status, headers, _ = options(live.port, "https://evil.example")
        assert status == 403 and "access-control-allow-origin" not in headers
