"""What the page draws and reads: the functions behind the picture, and the picture itself."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.browser"]

SCREENS = [
    (320, 480),
    (390, 844),
    (844, 390),
    (1280, 720),
    (1000, 1000),
    (3840, 2160),
    (5120, 1440),
]


def run(page, module: str, body: str, arg=None):
    """The value of `body` with the module's exports in scope as `m`."""
    return page.evaluate(f"async (arg) => {{ const m = await import('/{module}'); {body} }}", arg)


@pytest.mark.parametrize("screen", SCREENS)
def test_no_screen_shows_more_of_the_world_than_the_server_sends(page, screen):
    scale = run(page, "render.js", "return m.fitView(...arg)", list(screen))
    assert max(screen) / scale <= 1750
    assert 18 * scale >= 10  # a ship's radius in CSS px: large enough for a thumb's eye


def test_the_picture_never_has_more_pixels_than_its_quality_allows(page):
    ratio = run(page, "quality.js", "return m.pixelRatio(3840, 2160, 2, m.LEVELS.low.pixels)")
    assert 3840 * 2160 * ratio**2 == pytest.approx(950_000)
    assert run(page, "quality.js", "return m.pixelRatio(400, 800, 3, m.LEVELS.high.pixels)") == 3


FRAMES = """
    const judge = new m.AutoQuality();
    const levels = [];
    for (const [ms, count] of arg) {
        for (let i = 0; i < count; i++) judge.frame(ms);
        levels.push(judge.level);
    }
    return levels;
"""


def test_slow_frames_lower_the_quality_and_a_steady_picture_raises_it_again(page):
    story = [(16.7, 600), (33, 90), (33, 90), (16.7, 600), (16.7, 2500)]
    levels = run(page, "quality.js", FRAMES, story)
    assert levels == ["high", "medium", "low", "low", "medium"]


def test_each_failure_makes_the_next_attempt_come_later(page):
    waits = run(
        page,
        "quality.js",
        """
        const judge = new m.AutoQuality("medium");
        judge.rank = 2;
        const waits = [];
        for (let round = 0; round < 3; round++) {
            while (judge.level === "high") judge.frame(33);
            let frames = 0;
            while (judge.level !== "high") { judge.frame(16); frames++; }
            waits.push(frames);
        }
        return waits;
        """,
    )
    assert waits[0] < waits[1] < waits[2]


def test_a_hidden_tab_does_not_count_as_slow_drawing(page):
    assert run(page, "quality.js", FRAMES, [(5000, 900)]) == ["high"]


def test_a_resting_thumb_moves_nothing_and_a_far_one_is_full(page):
    read = "return m.readStick(arg[0], arg[1], {})"
    assert run(page, "input.js", read, [5, 5])["size"] == 0
    far = run(page, "input.js", read, [0, 500])
    assert far["size"] == 1
    assert far["angle"] == pytest.approx(1.5708, abs=1e-3)  # down, as on the screen


def test_every_hue_has_a_bucket_of_nearly_its_own_colour(page):
    off = run(
        page,
        "sprites.js",
        """
        let most = 0;
        for (let hue = 0; hue < 256; hue++) {
            const drawn = m.hueOf(m.bucketOf(hue));
            most = Math.max(most, Math.abs(drawn - hue * 360 / 256));
        }
        return most;
        """,
    )
    assert off <= 360 / 32


def test_ships_in_the_title_turn_the_short_way(page):
    turns = run(
        page, "attract.js", "return arg.map(([a, b]) => m.turnTo(a, b))", [[3, -3], [-3, 3]]
    )
    assert turns == pytest.approx([0.2832, -0.2832], abs=1e-3)


def test_settings_of_the_wrong_type_or_unknown_are_dropped(page):
    restored = run(
        page,
        "settings.js",
        """return ['{"volume": "loud", "calm": true, "evil": 1}', "not json", "null", null]
            .map((text) => m.restore(text, {volume: 0.6, calm: false}))""",
    )
    default = {"volume": 0.6, "calm": False}
    assert restored == [{"volume": 0.6, "calm": True}, default, default, default]


def test_invented_names_fit_into_twenty_bytes(page):
    names = run(
        page,
        "settings.js",
        """
        const names = [];
        for (let a = 0; a < 40; a++) for (let b = 0; b < 40; b++) {
            const rolls = [a / 40, b / 40];
            names.push(m.inventName(() => rolls.shift()));
        }
        return names;
        """,
    )
    assert len(set(names)) > 200
    assert all(len(name.encode()) <= 20 for name in names)


def test_figures_are_short_and_axes_end_at_calm_values(page):
    assert run(
        page, "overlay.js", "return arg.map(m.brief)", [0, 1.234, 45.67, 812, 12345, 2e6]
    ) == [
        "0",
        "1.23",
        "45.7",
        "812",
        "12.3k",
        "2.00M",
    ]
    assert run(page, "overlay.js", "return arg.map(m.niceCeiling)", [0, 0.3, 1, 16.7, 50]) == [
        1,
        0.5,
        1,
        20,
        50,
    ]
    assert run(page, "hud.js", "return arg.map(m.grouped)", [7, 1234, 1234567]) == [
        "7",
        "1,234",
        "1,234,567",
    ]


SHIPS = """
    const ships = {
        count: 1, id: [9], flags: [3], heading: [0], x: [0], y: [0],
    };
    const trails = new m.Trails();
    let clock = 1;
    const record = () => trails.record(ships, clock += 0.04);
    const widths = () => {
        const at = trails.slotOf[9] * 14;
        return trails.slotOf[9] < 0 ? null : [...trails.width.subarray(at, at + 14)];
    };
"""


def test_a_trail_grows_while_a_ship_thrusts_and_ends_where_it_jumps(page):
    grown, after = run(
        page,
        "trails.js",
        SHIPS
        + """
        for (let i = 0; i < 8; i++) { ships.x[0] += 12; record(); }
        const grown = widths().filter((w) => w > 0).length;
        ships.x[0] += 3000;
        record();
        return [grown, widths().filter((w) => w > 0).length];
        """,
    )
    assert (grown, after) == (8, 1)


def test_the_trail_of_a_ship_out_of_sight_makes_room_for_others(page):
    free, gone = run(
        page,
        "trails.js",
        SHIPS + "const free = trails.freeCount; record(); ships.count = 0; record();"
        "return [trails.freeCount === free, widths() === null];",
    )
    assert free and gone


def test_ten_seconds_of_a_dogfight_are_drawn_with_everything_in_them(page):
    seen = page.evaluate(
        """async () => {
            const { Attract } = await import('/attract.js');
            const { LEVELS } = await import('/quality.js');
            const { Renderer } = await import('/render.js');
            const { Settings, openStorage } = await import('/settings.js');
            const storage = openStorage('localStorage');
            const settings = new Settings(storage, new URLSearchParams());
            const colours = {};
            for (const [name, level] of Object.entries(LEVELS)) {
                const canvas = document.createElement('canvas');
                const renderer = new Renderer(canvas, settings);
                renderer.resize(640, 360, 1, level);
                const attract = new Attract({ ships: 30, orbs: 100 });
                const { scene } = attract;
                scene.ships.name.fill('Ada');
                const events = new Set();
                for (let i = 0; i < 600; i++) {
                    attract.step(1 / 60);
                    scene.ships.flags.fill(i % 2 ? 31 : 3);
                    for (const fx of scene.fx) events.add(fx.type);
                    renderer.feel(scene);
                    scene.fx.length = 0;
                    if (i % 19 === 0) renderer.draw(scene, 1 / 3, i / 60, 'Ada', true);
                }
                const { data } = renderer.ctx.getImageData(0, 0, 640, 360);
                const shades = new Set();
                for (let p = 0; p < data.length; p += 4) {
                    shades.add((data[p] >> 4) << 8 | (data[p + 1] >> 4) << 4 | data[p + 2] >> 4);
                }
                colours[name] = [shades.size, [...events].sort()];
            }
            return colours;
        }"""
    )
    for level, (shades, events) in seen.items():
        assert shades > 200, f"{level}: a picture of {shades} shades is empty"
        assert events == ["explosion", "fire", "hit", "spawn"]
