"""Takes the README's picture: the real game in a real browser, in the middle of a fight.

    .venv/bin/python docs/screenshot.py [--url http://127.0.0.1:8000/] [--out docs/game.jpg]

Needs a running server (`make run`) and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import time

from playwright.sync_api import sync_playwright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000/")
    parser.add_argument("--out", default="docs/game.jpg")
    parser.add_argument("--query", default="?name=Ada&autojoin&mute", help="added to the URL")
    parser.add_argument("--seconds", type=float, default=12, help="of play before the picture")
    parser.add_argument("--size", default="1280x720")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        parser.error("no Chromium here (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-quic"]
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("console", lambda message: print(message.type, message.text))
        page.on("pageerror", lambda error: print("page error:", error))
        page.goto(options.url + options.query)
        play(page, options.seconds, width, height)
        page.screenshot(
            path=options.out, **({"quality": 88} if options.out.endswith(".jpg") else {})
        )
        browser.close()


def play(page, seconds: float, width: int, height: int) -> None:
    """Fly about and shoot at whoever is nearest, as a person would, at least for some
    `seconds`, and then until a good moment or as long again."""
    until = time.monotonic() + seconds
    nearest = """() => {
        const client = window.tickstorm?.client; // none before the lobby has answered
        if (!client) return {alive: false, target: null, near: 0, shots: 0};
        const {ships, shots, view, self} = client.scene;
        let best = null, least = 700, near = 0;
        for (let i = 0; i < ships.count; i++) {
            if (i === ships.ownIndex || !(ships.flags[i] & 1)) continue;
            const d = Math.hypot(ships.x[i] - view.x, ships.y[i] - view.y);
            near += d < 450;
            if (d < least) { least = d; best = [ships.x[i] - view.x, ships.y[i] - view.y]; }
        }
        return {alive: self.alive, target: best, near, shots: shots.count};
    }"""
    held = None
    for turn in range(10_000):
        seen = page.evaluate(nearest)
        late = time.monotonic() - until
        good = seen["alive"] and seen["near"] >= 3 and seen["shots"] >= 5
        if (late > 0 and good) or late > seconds:
            break
        dx, dy = seen["target"] or (100, 30)
        page.mouse.move(width / 2 + dx * 0.7, height / 2 + dy * 0.7)
        key = ("d" if dx > 0 else "a") if turn // 4 % 2 else ("s" if dy > 0 else "w")
        if key != held:
            if held:
                page.keyboard.up(held)
            page.keyboard.down(key)
            held = key
        (page.mouse.down if seen["target"] else page.mouse.up)()
        time.sleep(0.15)


if __name__ == "__main__":
    main()
