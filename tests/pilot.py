"""A pilot in a page: the arena's client in Chromium behind a conditioned network, driven by a test.

What is drawn and told can be recorded, and compared.
"""

from __future__ import annotations

from contextlib import contextmanager

from clients.bots.conditioner import Conditioner, Conditions
from tests.live_server import LiveServer

# A pilot in the page: one client, a frame loop, and a record of all that was drawn and told.
PILOT = """async ({url, name}) => {
  const {Client} = await import('/client.js');
  const pilot = window.pilot = {
    statuses: [], frames: [], told: [], input: {move: 0, aim: 0}, steer: null, recording: false,
  };
  const client = pilot.client = new Client({
    url, name, onStatus: ({state, text}) => pilot.statuses.push([state, text]),
  });
  const watched = new WeakSet();
  const watch = (session) => {
    if (!session?.interpolation || watched.has(session)) return;
    watched.add(session);
    const push = session.interpolation.push.bind(session.interpolation);
    session.interpolation.push = (tick, known) => {
      if (pilot.recording) {
        const {x, y, flags} = known.columns;
        for (let i = 0; i < known.count; i++) {
          const id = known.ids[i];
          pilot.told.push([tick, id, known.generation[id], flags[id] & 1, x[id] / 2, y[id] / 2]);
        }
      }
      push(tick, known);
    };
  };
  const start = performance.now();
  const frame = (now) => {
    requestAnimationFrame(frame);
    watch(client.session);
    if (pilot.steer) pilot.input = pilot.steer((now - start) / 1000);
    client.setInput({thrust: false, boost: false, fire: false, ...pilot.input});
    client.sample(now);
    const {scene, session} = client;
    if (pilot.recording) {
      const tick = session.playback.tickAt(now);
      for (let i = 0; i < scene.ships.count; i++) {
        if (i === scene.ships.ownIndex) continue;
        pilot.frames.push([now, tick, scene.ships.id[i], scene.ships.x[i], scene.ships.y[i]]);
      }
    }
    scene.fx.length = scene.feed.length = scene.chat.length = scene.notices.length = 0;
  };
  requestAnimationFrame(frame);
  client.join(name);
}"""

# Another course, throttle and trigger every 0.4 s, the same in each run.
WANDER = """() => {
  pilot.steer = (s) => {
    const k = Math.floor(s * 2);
    const roll = (n) => (Math.imul(k + n, 2654435761) >>> 16) / 65536;
    return {
      move: roll(1) * 6.283, aim: roll(2) * 6.283 + s,
      thrust: roll(3) < 0.7, boost: roll(4) < 0.3, fire: roll(5) < 0.3,
    };
  };
}"""

BEGIN = """() => {
  const {stats} = pilot.client;
  pilot.recording = true;
  pilot.since = {at: performance.now(), snapshots: stats.snapshots, corrections: stats.corrections};
}"""

END = """() => {
  const {stats} = pilot.client;
  const now = performance.now();
  pilot.recording = false;
  const since = (series) => {
    const values = [];
    series.each(now, (age, value) => { if (now - age > pilot.since.at) values.push(value); });
    return values;
  };
  const result = {
    snapshots: stats.snapshots - pilot.since.snapshots,
    corrections: stats.corrections - pilot.since.corrections,
    sizes: since(stats.correction), slack: since(stats.slack), delay: since(stats.delay),
    rtt: since(stats.rtt), frames: pilot.frames, told: pilot.told,
  };
  pilot.frames = [];
  pilot.told = [];
  return result;
}"""

PLAYING = "() => pilot.client.status.state === 'playing' && pilot.client.scene.self.alive"


@contextmanager
def piloted(browser, web, url: str, name: str = "Ada", query: str = ""):
    """A page in which `PILOT` plays at `url`; `query` is of the page's own address."""
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{web}/blank.html{query}")
    page.evaluate(PILOT, {"url": url, "name": name})
    page.wait_for_function(PLAYING)
    yield page
    context.close()
    assert not errors, errors


@contextmanager
def game_behind(conditions: Conditions, **options):
    """A real server, and a way to it: ``(server, conditioner, url)``."""
    with LiveServer(**{"ALLOWED_ORIGINS": "*", "SETTINGS": "orbs=0", **options}) as server:
        with Conditioner(("127.0.0.1", server.port), conditions, seed=4) as way:
            yield server, way, f"ws://{way.host}:{way.port}/ws"


def record(page, seconds: float) -> dict:
    """What the stats say of the next seconds, ten at most."""
    page.evaluate(BEGIN)
    page.wait_for_timeout(seconds * 1000)
    return page.evaluate(END)
