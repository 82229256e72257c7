"""`tickstorm doctor`: what would trouble a server is found, and what to do is said."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager

import pytest

from tests.live_server import LiveServer
from tickstorm.cli import main


@pytest.fixture(scope="module")
def server():
    with LiveServer(GAMES="game") as server:
        yield server


@pytest.fixture
def examine(capsys, monkeypatch, tmp_path):
    """`examine("--url", …, HOST=…)`: the exit code, and the findings by name."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    def run(*arguments: str, **options: object) -> tuple[int, dict[str, dict]]:
        for name, value in options.items():
            monkeypatch.setenv(name, str(value))
        code = main(["doctor", "--json", *arguments])
        lines = capsys.readouterr().out.splitlines()
        return code, {row["what"]: row for row in map(json.loads, lines)}

    return run


@contextmanager
def proxy(port: int, edit):
    """A proxy that changes requests in a way of its own. Yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", port)) as there:
                there.sendall(edit(client.recv(8192)))
                there.settimeout(1.0)
                try:
                    while data := there.recv(8192):
                        client.sendall(data)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_machine_is_examined_and_a_running_server_is_known(server, examine):
    code, found = examine(PORT=server.port)
    assert code == 0 and found["port"]["state"] == "ok"
    assert "a Tickstorm server answers" in found["port"]["found"]
    assert {"Python", "kernel", "io_uring", "somaxconn", "descriptors", "clock", "timers",
            "DATA_DIR", "proxy"} <= set(found)  # fmt: skip
    for row in found.values():
        assert row["state"] == "ok" or row["do"], row


def test_a_port_of_another_program_is_a_reason_not_to_start(examine):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, found = examine(PORT=other.getsockname()[1])
    assert code == 1 and found["port"]["state"] == "bad"


@pytest.mark.parametrize(
    ("options", "what", "state"),
    [
        ({"HOST": "203.0.113.7", "PORT": 8123}, "port", "bad"),
        ({"HOST": "0.0.0.0", "DEV": "on"}, "DEV", "bad"),
        ({"HOST": "0.0.0.0", "TRUSTED_PROXIES": "127.0.0.1"}, "TRUSTED_PROXIES", "warn"),
        ({"SECRET": "short"}, "SECRET", "bad"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS", "warn"),
        ({"ADMIN_TOKEN": "a" * 16, "ADMIN_LOOK_TOKEN": "a" * 16}, "ADMIN_LOOK_TOKEN", "bad"),
        ({"DIRECTORY": "redis://127.0.0.1:1/0"}, "DIRECTORY", "bad"),
        ({"MAX_PLAYERS": 20000, "MAX_SPECTATORS": 5000}, "descriptors", None),
    ],
)
def test_what_is_wrong_with_the_options_is_found(examine, options, what, state):
    code, found = examine(**options)
    if state is not None:
        assert found[what]["state"] == state and found[what]["do"]
        assert code == (state == "bad") or code == 1
    else:
        assert found[what]["found"]


def test_a_secret_that_others_can_read_is_found(examine, tmp_path):
    (tmp_path / "secret").write_text("x" * 32)
    (tmp_path / "secret").chmod(0o644)
    code, found = examine()
    assert code == 1 and found["SECRET"]["do"].startswith("chmod 600")


def test_a_proxy_that_passes_on_what_it_must_is_fine(server, examine):
    with proxy(server.port, lambda request: request) as port:
        _, found = examine("--url", f"http://127.0.0.1:{port}")
    assert found["public address"]["state"] == found["proxy headers"]["state"] == "ok"


@pytest.mark.parametrize(
    ("broken", "hint"), [("host", "pass Host on unchanged"), ("upgrade", "proxy_http_version 1.1")]
)
def test_a_proxy_that_changes_or_drops_headers_is_found(server, examine, broken, hint):
    def edit(request: bytes) -> bytes:
        lines = request.split(b"\r\n")
        if broken == "host":
            lines = [b"Host: backend" if x.lower().startswith(b"host:") else x for x in lines]
        else:
            lines = [x for x in lines if not x.lower().startswith((b"upgrade:", b"connection:"))]
        return b"\r\n".join(lines)

    with proxy(server.port, edit) as port:
        code, found = examine("--url", f"http://127.0.0.1:{port}")
    assert code == 1 and hint in found["proxy headers"]["do"]


def test_a_public_address_that_leads_nowhere_is_found(examine):
    code, found = examine("--url", "http://127.0.0.1:1")
    assert code == 1 and found["public address"]["state"] == "bad"
