"""`python -m bench report`: results as one page with plots, nothing to load from elsewhere."""

from __future__ import annotations

import glob
import html
import io
import json
import re
from pathlib import Path

from .server_process import ROOT, BenchError

COLORS = {
    "tickstorm": "#d9480f",
    "colyseus": "#6741d9",
    "uwsgi": "#1c7ed6",
    "picows": "#2b8a3e",
    "floor": "#868e96",
}
INK, SOFT, GRID = "#212529", "#5c636a", "#e3e6e8"

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tickstorm: measured</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #212529; background: #fff;
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: 0; }} h2 {{ margin-top: 2.5rem; font-size: 1.25rem; }}
figure {{ margin: 1rem 0; }} svg {{ width: 100%; height: auto; }}
figcaption, .soft {{ color: #5c636a; font-size: .9rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: .3rem .7rem; border-bottom: 1px solid #e3e6e8;
  white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
code {{ font-size: .85rem; background: #f1f3f5; padding: .1rem .3rem; border-radius: 3px; }}
</style>
{body}
</html>
"""


def load(paths: list[str] | None) -> tuple[dict | None, list[dict]]:
    """The newest comparison, and all crowds, in the order of their time."""
    names = paths or sorted(glob.glob(str(ROOT / "results" / "*.json")))
    results = []
    for name in names:
        try:
            result = json.loads(Path(name).read_text())
        except (OSError, ValueError) as error:
            raise BenchError(f"{name}: {error}") from error
        if isinstance(result, dict) and result.get("kind") in ("compare", "crowd"):
            results.append(result)
    if not results:
        raise BenchError("nothing to report: run `python -m bench compare` or `crowd --json` first")
    results.sort(key=lambda result: result["time"])
    comparisons = [result for result in results if result["kind"] == "compare"]
    crowds = [result for result in results if result["kind"] == "crowd"]
    return (comparisons[-1] if comparisons else None), crowds


# ---------------------------------------------------------------- plots


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise BenchError("matplotlib is not installed (pip install -e '.[bench]')") from error
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 12,
            "axes.edgecolor": GRID,
            "axes.labelcolor": SOFT,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "text.color": INK,
            "xtick.color": SOFT,
            "ytick.color": SOFT,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "svg.hashsalt": "tickstorm",
            "figure.facecolor": "white",
        }
    )
    import matplotlib.pyplot as plt

    return plt


def there(comparison: dict) -> dict[str, dict]:
    """The contenders that were measured."""
    return {name: trial for name, trial in comparison["contenders"].items() if not trial["skipped"]}


def overview(comparison: dict):
    """Three bars per server: players held, CPU and bytes per player."""
    plt = _pyplot()
    trials = dict(reversed(there(comparison).items()))
    few = str(min(comparison["common_players"]))
    many = str(max(comparison["common_players"]))

    def at_most_common(trial: dict, key: str):
        """At the larger common count where it was held, else at the smaller, hatched."""
        for players in (many, few):
            if players in trial["common"]:
                return trial["common"][players][key], players == few
        return None, False

    figure, axes = plt.subplots(1, 3, figsize=(13, 0.62 * len(trials) + 1.6), sharey=True)
    rows = range(len(trials))
    panels = (
        ("Players held on one core", lambda t: (t["largest"], False), "{:,.0f}"),
        (
            "CPU per player and tick, µs",
            lambda t: at_most_common(t, "us_per_player_tick"),
            "{:.1f}",
        ),
        (
            "Bytes per second to a player",
            lambda t: at_most_common(t, "bytes_per_player_s"),
            "{:,.0f}",
        ),
    )
    footnote = False
    for axis, (title, value, form) in zip(axes, panels, strict=True):
        axis.set_title(title)
        values = [value(trial) for trial in trials.values()]
        longest = max((number or 0 for number, _ in values), default=1) or 1
        for row, name, trial, (number, at_few) in zip(rows, trials, trials.values(), values):
            if number is None:
                axis.text(longest * 0.02, row, "not measured", va="center", color=SOFT)
                continue
            axis.barh(row, number, height=0.62, color=COLORS[name])
            text = form.format(number).replace(",", " ")
            if axis is axes[0] and (trial["clients_were_the_limit"] or not trial["not_held"]):
                text = f"≥ {text}"
            if at_few:
                text, footnote = f"{text} *", True
            weight = "bold" if name == "tickstorm" else "normal"
            axis.text(number + longest * 0.02, row, text, va="center", weight=weight)
        axis.set_xlim(0, longest * 1.28)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[["bottom", "left"]].set_visible(False)
    axes[0].set_yticks(rows, [trial["label"] for trial in trials.values()], color=INK)
    for label, name in zip(axes[0].get_yticklabels(), trials, strict=True):
        label.set_weight("bold" if name == "tickstorm" else "normal")
    note = (
        f"{comparison['tick_hz']} snapshots and {comparison['tick_hz']} inputs a second each, "
        f"about {comparison['visible_wanted']:g} ships visible; server on one core of "
        f"{comparison['machine']['cpu']}. CPU and bytes at {_spaced(many)} players"
    )
    note += f", * at {_spaced(few)}." if footnote else "."
    figure.text(0.012, 0.015, note, color=SOFT, fontsize=9.5)
    figure.tight_layout(rect=(0, 0.06, 1, 1), w_pad=2)
    return figure


def _spaced(number: str | int) -> str:
    return f"{int(number):,}".replace(",", " ")


def curves(comparison: dict, key: str, title: str, top: float, limit: tuple[float, str] | None):
    """One value against the number of players, one line per server; `limit`: value, text."""
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(11, 4.6))
    axis.set_title(title)
    axis.grid(axis="y")
    ends = []
    for name, trial in there(comparison).items():
        points = _best_by_players(trial, key)
        if not points:
            continue
        players, values, held = zip(*points, strict=True)
        shown = [min(value, top) for value in values]
        width = 2.6 if name == "tickstorm" else 1.7
        axis.plot(players, shown, color=COLORS[name], linewidth=width, zorder=3)
        for x, y, good in zip(players, shown, held, strict=True):
            face = COLORS[name] if good else "white"
            axis.plot(x, y, "o", color=COLORS[name], markerfacecolor=face, markersize=6, zorder=4)
        ends.append((players[-1], shown[-1], trial["label"], COLORS[name]))
    if limit:
        value, text = limit
        axis.axhline(value, color=INK, linewidth=1, linestyle=(0, (4, 4)))
        axis.text(0, value + top * 0.012, f" {text}", color=INK, fontsize=9.5, va="bottom")
    widest = max((x for x, *_ in ends), default=1)
    _label_ends(axis, ends, top, widest)
    axis.set_xlim(0, widest * 1.24)
    axis.set_ylim(0, top * 1.05)
    axis.set_xlabel("players (hollow: not held)")
    for of in (axis.xaxis, axis.yaxis):
        of.set_major_formatter(lambda value, _: _spaced(round(value)))
    axis.spines["left"].set_visible(False)
    axis.tick_params(length=0)
    figure.tight_layout()
    return figure


def _label_ends(axis, ends: list[tuple], top: float, widest: float) -> None:
    """Names beside the ends of their lines, pushed apart where they would overlap."""
    placed: list[tuple[float, float]] = []
    for x, y, label, color in sorted(ends, key=lambda end: end[1]):
        for other_x, other_y in placed:
            if abs(other_x - x) < widest * 0.3 and y < other_y + top * 0.065:
                y = other_y + top * 0.065
        placed.append((x, y))
        halo = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
        at = x + widest * 0.014
        axis.text(at, y, label, color=color, va="center", fontsize=10.5, bbox=halo, zorder=5)


def _best_by_players(trial: dict, key: str) -> list[tuple[int, float, bool]]:
    """(players, value, held) of each count's best attempt, by players."""
    best: dict[int, dict] = {}
    for step in trial["steps"]:
        known = best.get(step["players"])
        if step.get(key) is not None and (known is None or step["held"] or not known["held"]):
            best[step["players"]] = step
    return [(players, step[key], step["held"]) for players, step in sorted(best.items())]


def scaling(crowds: list[dict]):
    """This server alone: tick time and gaps against players, from `crowd` runs of `spread`."""
    plt = _pyplot()
    newest = {}
    for result in crowds:
        if result["scenario"] == "spread" and result["tick_ms_p50"] is not None:
            newest[result["players"]] = result
    if len(newest) < 2:
        return None
    points = [newest[players] for players in sorted(newest)]
    players = [point["players"] for point in points]
    figure, (ticks, gaps) = plt.subplots(1, 2, figsize=(11, 4.2))
    for axis, title, lines, scale in (
        (ticks, "Tick, ms", (("tick_ms_p50", "median"), ("tick_ms_p99", "99th percentile")), 50),
        (
            gaps,
            "Gap between snapshots, ms",
            (("snapshot_gap_ms_p50", "median"), ("snapshot_gap_ms_p99", "99th percentile")),
            100,
        ),
    ):
        axis.set_title(title)
        axis.grid(axis="y")
        for (key, label), shade in zip(lines, ("#d9480f", "#f08c4b"), strict=True):
            values = [point[key] for point in points]
            axis.plot(players, values, "o-", color=shade, linewidth=2.2)
            axis.text(players[-1] * 1.02, values[-1], label, color=shade, va="center")
        axis.set_xlim(0, players[-1] * 1.35)
        axis.set_ylim(0, max(scale, *(point[key] for point in points for key, _ in lines)) * 1.05)
        axis.set_xlabel("players")
        axis.xaxis.set_major_formatter(lambda value, _: _spaced(round(value)))
        axis.spines["left"].set_visible(False)
        axis.tick_params(length=0)
    figure.tight_layout(w_pad=3)
    return figure


# ---------------------------------------------------------------- the page


def _svg(figure, plt, name: str) -> str:
    """A figure as inline SVG; `name` keeps its ids apart from the others'."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg height="[^"]*"', r"<svg \1", svg)


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _table(header: list[str], rows: list[list]) -> str:
    def line(cells: list, tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(_cell(c))}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="scroll"><table>{line(header, "th")}{body}</table></div>'


def _cell(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, int | float):
        return f"{value:,}".replace(",", " ")
    return str(value)


def _origin(result: dict) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    pinned = (
        f"server on core {machine['server_core']}, clients on {machine['client_cores']}"
        if machine["server_core"] is not None
        else "not pinned"
    )
    text = (
        f"{machine['cpu']}, {machine['cores']} cores ({pinned}), {machine['system']}, "
        f"Python {machine['python']}; {versions}; {result['time']}"
    )
    return (
        f'<p class="soft">{html.escape(text)}<br><code>{html.escape(result["command"])}</code></p>'
    )


def page(comparison: dict | None, crowds: list[dict]) -> str:
    plt = _pyplot()
    parts = ["<h1>Tickstorm: measured</h1>"]
    if comparison:
        parts += ["<h2>Beside others</h2>", _origin(comparison)]
        parts.append(
            _figure(
                _svg(overview(comparison), plt, "overview"),
                "Held: the rate kept within 1 %, nobody lost, 99 % of the gaps between snapshots "
                f"under {comparison['gap_limit_ms']:g} ms.",
            )
        )
        budget, gap = 1e3 / comparison["tick_hz"], comparison["gap_limit_ms"]
        most = max(
            step.get("bytes_per_player_s", 0)
            for trial in there(comparison).values()
            for step in trial["steps"]
        )
        for name, key, title, top, limit, caption in (
            (
                "cpu",
                "cpu_ms_per_tick",
                "Server CPU per tick, ms",
                budget * 1.1,
                (budget, f"all of a core: {budget:g} ms"),
                "CPU time of the server's processes, the kernel's work for them included.",
            ),
            (
                "gap",
                "snapshot_gap_ms_p99",
                "Gap between snapshots, 99th percentile, ms",
                gap * 2,
                (gap, "limit"),
                "As the clients saw it; what lies beyond the top is drawn at the top.",
            ),
            (
                "bytes",
                "bytes_per_player_s",
                "Bytes per second to a player",
                most * 1.1,
                None,
                "WebSocket frames, without TCP and IP. A server that sends less often sends less.",
            ),
        ):
            figure = curves(comparison, key, title, top, limit)
            parts.append(_figure(_svg(figure, plt, name), caption))
        parts.append(_comparison_table(comparison))
        skipped = [
            f"{trial['label']}: {trial['skipped']}"
            for trial in comparison["contenders"].values()
            if trial["skipped"]
        ]
        if skipped:
            parts.append(f"<p>Skipped: {html.escape('; '.join(skipped))}</p>")
    if crowds:
        parts += ["<h2>This server</h2>", _origin(crowds[-1])]
        figure = scaling(crowds)
        if figure:
            parts.append(_figure(_svg(figure, plt, "scaling"), "The newest run of each size."))
        parts.append(_crowd_table(crowds))
    parts.append(
        '<p class="soft">What each figure means, and what may not be compared: '
        "<code>bench/README.md</code>.</p>"
    )
    return PAGE.format(body="\n".join(parts))


def _comparison_table(comparison: dict) -> str:
    counts = [str(count) for count in comparison["common_players"]]
    header = ["", "players held", "not held"]
    for players in counts:
        header += [f"µs at {players}", f"B/s at {players}", f"visible at {players}"]
    header.append("versions")
    rows = []
    for trial in there(comparison).values():
        row = [trial["label"], trial["largest"], trial["not_held"]]
        for players in counts:
            at = trial["common"].get(players, {})
            keys = ("us_per_player_tick", "bytes_per_player_s", "visible_mean")
            row += [at.get(key) for key in keys]
        row.append(", ".join(f"{name} {version}" for name, version in trial["versions"].items()))
        rows.append(row)
    return _table(header, rows)


def _crowd_table(crowds: list[dict]) -> str:
    columns = {
        "scenario": "scenario",
        "players": "players",
        "visible_mean": "visible",
        "rate_hz": "ticks/s",
        "tick_ms_p50": "tick p50",
        "tick_ms_p99": "tick p99",
        "snapshot_gap_ms_p50": "gap p50",
        "snapshot_gap_ms_p99": "gap p99",
        "bytes_per_player_s": "B/s",
        "us_per_player_tick": "µs",
        "server_cpu_percent": "CPU %",
        "server_memory_mb": "MB",
        "lost": "lost",
    }
    rows = [[result.get(key) for key in columns] for result in crowds]
    return _table(list(columns.values()), rows)


def main(paths: list[str] | None, out: str, png: str | None) -> int:
    comparison, crowds = load(paths)
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(comparison, crowds))
    print(f"written to {target}")
    if png:
        if comparison is None:
            raise BenchError("the picture shows a comparison: run `python -m bench compare` first")
        plt = _pyplot()
        figure = overview(comparison)
        Path(png).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(png, dpi=130)
        plt.close(figure)
        print(f"written to {png}")
    return 0
