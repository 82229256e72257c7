"""TLS in front of the game: deploy/nginx.conf as it stands, with the real nginx."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from clients.bots import wire
from tests.live_server import LiveServer, free_port
from tests.marks import mark
from tests.nginx import NGINX, start_nginx
from tests.raw_client import ROOT, RawClient, parse, read_all, upgrade

PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
OPENSSL = shutil.which("openssl", path=PATH)

pytestmark = pytest.mark.skipif(
    not (NGINX and OPENSSL), reason="nginx or openssl is not installed (apt install nginx openssl)"
)


class Front:
    """nginx with our configuration: other names, ports and a certificate of its own."""

    def __init__(self, folder, game_port: int):
        self.plain_port, self.port = free_port(), free_port()
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            + ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True,
            capture_output=True,
        )
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        letsencrypt = "/etc/letsencrypt/live/game.example.org"
        for here, there in [
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            ("listen 443 ssl http2;", f"listen 127.0.0.1:{self.port} ssl http2;"),
            (f"{letsencrypt}/fullchain.pem", str(certificate)),
            (f"{letsencrypt}/privkey.pem", str(key)),
            ("http://127.0.0.1:8000;", f"http://127.0.0.1:{game_port};"),
            ("game.example.org", "localhost"),
        ]:
            assert here in text, f"{here} is no longer in deploy/nginx.conf"
            text = text.replace(here, there)
        self.process = start_nginx(folder, text)
        self.trust = ssl.create_default_context(cafile=str(certificate))
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                assert self.process.poll() is None, self.process.stderr.read().decode()
                assert time.monotonic() < until
                time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.process.stderr.close()

    def request(self, data: bytes, tls: bool = True) -> tuple[int, dict[str, str], bytes]:
        port = self.port if tls else self.plain_port
        with socket.create_connection(("127.0.0.1", port), 1) as sock:
            if tls:
                sock = self.trust.wrap_socket(sock, server_hostname="localhost")
            with sock:
                sock.sendall(data)
                answer = read_all(sock)
        return parse(answer)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    options = {"TRUSTED_PROXIES": "127.0.0.1", "MAX_CONNECTIONS_PER_ADDRESS": 3}
    with LiveServer(**options) as live:
        nginx = Front(folder, live.port)
        nginx.live = live
        try:
            yield nginx
        finally:
            nginx.stop()


def test_plain_http_is_sent_to_tls(front):
    status, headers, _ = front.request(
        b"GET /main.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", tls=False
    )
    assert (status, headers["location"]) == (308, "https://localhost/main.js")


def test_the_page_comes_through_with_its_headers(front):
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, headers, body = front.request(request)
    assert status == 200 and b"<!doctype html>" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["strict-transport-security"].startswith("max-age=")


def test_a_player_plays_through_tls(front):
    origin = f"https://localhost:{front.port}"
    headers = {"Host": f"localhost:{front.port}", "Origin": origin}
    with RawClient(front.port, tls=front.trust, **headers) as client:
        assert client.status == 101
        client.join("Ada")
        began, first = time.monotonic(), client.head["tick"]
        while client.head["tick"] < first + 40:
            client.input(move=64, buttons=1)
            client.read(0.05)
        mark("snapshots through TLS, s", time.monotonic() - began, high=4)
        client.until(lambda: client.head["ack_seq"] == client.sequence)
        client.say(wire.encode_leave())
        assert client.close_code() == 1000


def test_another_sites_page_is_refused_through_the_proxy_too(front):
    data = upgrade(front.port, Host="localhost", Origin="https://evil.example")
    assert front.request(data)[0] == 403


def test_the_address_that_counts_is_the_one_nginx_saw(front):
    clients = []
    for i in range(3):
        headers = {"Host": "localhost", "X_Forwarded_For": f"192.0.2.{i}"}
        clients.append(RawClient(front.port, tls=front.trust, **headers))
    assert [client.status for client in clients] == [101] * 3
    forged = upgrade(front.port, Host="localhost", X_Forwarded_For="192.0.2.99")
    assert front.request(forged)[0] == 429
    underscored = forged.replace(b"X-Forwarded-For", b"X_Forwarded_For")
    assert front.request(underscored)[0] == 429
    for client in clients:
        client.drop()


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Content-Length: 4\r\nContent-Length: 44",
    ],
)
def test_nothing_is_smuggled_between_nginx_and_the_game(front, headers):
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for path in (b"/", b"/ws"):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers
        status, _, body = front.request(head + b"\r\n\r\n" + smuggled)
        assert status in (0, 400, 405, 413, 501), body[:200]
        assert b"tick_hz" not in body


def test_a_refused_upgrade_leaves_no_tunnel(front):
    data = upgrade(front.port, Host="localhost", Sec_WebSocket_Version="7")
    behind = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, _, body = front.request(data + behind)
    assert status == 400
    # What came behind it was a request to nginx like any other, not bytes to the game.
    assert body.count(b"HTTP/1.1 ") == 1 and b"Strict-Transport-Security" in body


def test_health_says_ok_behind_nginx(front):
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert front.request(request)[0] == 200
    assert "Traceback" not in front.live.log()
