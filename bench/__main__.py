"""python -m bench crowd | rooms | tick | compare | chaos | cluster | report; each has --help."""

from __future__ import annotations

import argparse
import signal
import sys

from . import chaos, cluster, compare, crowd, report, rooms, tick
from .scenarios import SCENARIOS
from .server_process import BenchError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    one = commands.add_parser("crowd", help="one server, one crowd")
    one.add_argument("--players", type=int, default=500)
    one.add_argument(
        "--seconds", type=float, default=20.0, help="to measure, after all have joined"
    )
    one.add_argument("--visible", type=float, default=50.0, help="ships in each client's interest")
    one.add_argument(
        "--scenario",
        choices=SCENARIOS,
        default="spread",
        help="; ".join(f"{s.name}: {s.summary}" for s in SCENARIOS.values()).replace("%", "%%"),
    )
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--json", metavar="PATH", help="write the result there as well")

    small = commands.add_parser("rooms", help="how many small rooms one core holds")
    small.add_argument("--players", type=int, default=4, help="in each room")
    small.add_argument("--game", choices=("small", "arena"), default="small")
    small.add_argument("--compare", action="store_true", help="Colyseus in the same run")
    small.add_argument("--seconds", type=float, default=6.0, help="to measure at each step")
    small.add_argument("--most", type=int, help="rooms to try at most; 0: no search")
    small.add_argument(
        "--fixed", type=int, default=rooms.COMMON_ROOMS, help="rooms at which costs are given"
    )
    small.add_argument("--idle", type=int, default=250, help="rooms of two who are silent; 0: none")
    small.add_argument("--json", metavar="PATH", help="default: results/rooms-GAME.json")

    alone = commands.add_parser("tick", help="what a tick computes, without sockets")
    alone.add_argument("--players", type=int, default=3000)
    alone.add_argument("--visible", type=float, default=50.0, help="ships in each one's interest")
    alone.add_argument("--ticks", type=int, default=200)
    alone.add_argument("--seed", type=int, default=1)
    alone.add_argument("--json", metavar="PATH", help="write the result there as well")

    many = commands.add_parser("compare", help="this server beside others, same load")
    many.add_argument("--seconds", type=float, default=4.0, help="to measure at each step")
    many.add_argument("--visible", type=float, default=50.0)
    many.add_argument("--only", metavar="A,B", help=f"of {', '.join(compare.CONTENDERS)}")
    many.add_argument("--json", metavar="PATH", help="default: results/compare.json")

    fire = commands.add_parser("chaos", help="kills, reloads, stalls and hostile clients")
    fire.add_argument("--players", type=int, default=200)
    fire.add_argument("--seconds", type=float, default=60.0)
    fire.add_argument("--seed", type=int, default=1)
    fire.add_argument("--workers", type=int, default=1, help="processes behind the port")
    fire.add_argument("--json", metavar="PATH", help="write the result there as well")

    joint = commands.add_parser("cluster", help="several nodes: joins, moves, restarts")
    joint.add_argument("--nodes", type=int, default=4)
    joint.add_argument("--joins", type=int, default=2000)
    joint.add_argument("--players", type=int, default=200)
    joint.add_argument("--json", metavar="PATH", help="write the result there as well")

    page = commands.add_parser("report", help="a page with plots of earlier results")
    page.add_argument("--input", nargs="*", metavar="PATH", help="default: results/*.json")
    page.add_argument("--out", default="results/report.html")
    page.add_argument("--png", metavar="PATH", help="also write the comparison as a picture")
    return top


def run(options: argparse.Namespace) -> int:
    if options.command == "crowd":
        load = crowd.Load(
            players=options.players,
            seconds=options.seconds,
            visible=options.visible,
            scenario=options.scenario,
            seed=options.seed,
        )
        return crowd.main(load, options.json)
    if options.command == "rooms":
        return rooms.main(
            options.players, options.game, options.compare, options.seconds, options.json,
            options.most, options.fixed, options.idle,
        )  # fmt: skip
    if options.command == "tick":
        return tick.main(
            options.players, options.visible, options.ticks, options.seed, options.json
        )
    if options.command == "compare":
        return compare.main(options.seconds, options.visible, options.only, options.json)
    if options.command == "chaos":
        return chaos.main(
            options.players, options.seconds, options.seed, options.json, options.workers
        )
    if options.command == "cluster":
        return cluster.main(options.nodes, options.joins, options.players, options.json)
    return report.main(options.input, options.out, options.png)


def main() -> int:
    # A SIGTERM unwinds like Ctrl-C, so that every child is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(parser().parse_args())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
