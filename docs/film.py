"""Takes the README's film of time travel, and a picture of the playground, in a real browser.

    .venv/bin/python docs/film.py [--out docs/time-travel.webp]

It starts a server of its own, plays a round of tag with two players, and looks for the moment in
which one caught the other. Needs Chromium, and Pillow (the extra `docs`).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
SIZE = {"width": 1120, "height": 760}
FRAME_MS = 90


class Film:
    """Frames of a page, and for how long each is shown."""

    def __init__(self, page: Page, width: int):
        self._page, self._width = page, width
        self._frames: list[Image.Image] = []
        self._times: list[int] = []

    def still(self, out: Path) -> None:
        """A picture of its own."""
        picture = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        picture.save(out, quality=80, method=6)

    def take(self, hold_ms: int = FRAME_MS) -> None:
        picture = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        height = picture.height * self._width // picture.width
        self._frames.append(picture.resize((self._width, height), Image.Resampling.LANCZOS))
        self._times.append(hold_ms)

    def save(self, out: Path) -> None:
        first, *others = self._frames
        how = {"quality": 72, "method": 4} if out.suffix == ".webp" else {"optimize": True}
        first.save(out, save_all=True, append_images=others, duration=self._times, loop=0, **how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "time-travel.webp")
    parser.add_argument("--width", type=int, default=900)
    options = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        parser.error("no Chromium here (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory(prefix="tickstorm-") as data, sync_playwright() as driver:
        os.chmod(data, 0o777)  # started as root, the worker becomes nobody
        server, url = serve(data)
        try:
            browser = driver.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox", "--disable-quic"]
            )
            page = browser.new_page(viewport=SIZE)
            page.on("pageerror", lambda error: print("page error:", error))
            film = Film(page, options.width)
            shoot(page, url, film)
            film.save(options.out)
            browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)
    print(f"{options.out}: {options.out.stat().st_size // 1000} kB")


def serve(data: str) -> tuple[subprocess.Popen, str]:
    """A development server of tag on a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environment = os.environ | {"GAMES": "examples/tag/tag.py", "DEV": "on", "DATA_DIR": data,
                                "HOST": "127.0.0.1", "PORT": str(port)}  # fmt: skip
    uwsgi = Path(sys.executable).parent / "uwsgi"
    server = subprocess.Popen([uwsgi, "uwsgi.ini"], cwd=ROOT, env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    url = f"http://127.0.0.1:{port}/playground/"
    for _ in range(200):
        try:
            urllib.request.urlopen(url)
            return server, url
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def shoot(page: Page, url: str, film: Film) -> None:
    """Play, open the past, scrub, search, and follow the change to its line."""
    page.goto(url)
    page.wait_for_selector("select[aria-label=Game] option", state="attached")
    for count in (1, 2):
        page.click("button:text-is('Join')")
        page.wait_for_function(
            f"() => document.querySelectorAll('.status.playing').length === {count}"
        )
    chase(page, film)
    film.still(ROOT / "docs" / "playground.webp")
    page.click(".room h3 a")
    page.wait_for_selector(".scrubber")
    page.wait_for_timeout(500)
    film.take(900)
    box = page.locator(".scrubber").bounding_box()
    assert box is not None, "it is there"
    for step in range(24, 2, -1):  # back, along the strip
        page.mouse.click(box["x"] + box["width"] * step / 25, box["y"] + box["height"] / 2)
        page.wait_for_timeout(60)
        film.take()
    text = "it of Bob becomes true"
    page.click("[aria-label=Search]")
    for i in range(0, len(text), 2):
        page.keyboard.type(text[i : i + 2])
        film.take(60)
    page.keyboard.press("Enter")
    page.locator(".found button").first.wait_for()
    page.wait_for_timeout(400)
    film.take(1600)
    page.click(".stage h2")
    for key in ["ArrowLeft"] * 6 + ["ArrowRight"] * 6:
        page.keyboard.press(key)
        page.wait_for_timeout(80)
        film.take(160)
    film.take(900)
    line = page.locator(".change", has_text="Bob.it").locator(".line")
    line.hover()
    film.take(500)
    line.click()
    page.wait_for_timeout(700)
    film.take(2600)


def chase(page: Page, film: Film) -> None:
    """Whoever is it runs after the other until it has them."""
    where = """() => [...document.querySelectorAll('.seat:first-child .state details')].slice(1, 3)
        .map((box) => Object.fromEntries([...box.querySelectorAll('dt')]
        .map((dt) => [dt.textContent, dt.nextSibling.textContent])))"""
    pads = page.locator(".seat .pad")
    held: list[int | None] = [None] * 4
    caught = 0
    for frame in range(400):
        ada, bob = page.evaluate(where)
        dx, dy = (float(bob[axis]) - float(ada[axis]) for axis in ("x", "y"))
        it = ada["it"] == "true"
        sign = 1 if it else -1  # Ada runs after Bob, or away; Bob runs in circles
        toward = [sign * _way(dx), sign * _way(dy), (-1, 1, 1, -1)[frame // 8 % 4], 0]
        for at, way in enumerate(toward):
            if held[at] != way:
                pads.nth(at).locator("button").nth(way + 1).click()
                held[at] = way
        page.wait_for_timeout(60)
        if frame % 2 == 0 and frame < 40:
            film.take()
        caught += bob["it"] == "true"
        if caught > 25:
            return


def _way(distance: float) -> int:
    return 0 if abs(distance) < 12 else 1 if distance > 0 else -1


if __name__ == "__main__":
    main()
