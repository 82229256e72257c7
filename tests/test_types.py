"""`tickstorm types`: a TypeScript client compiles against them, and its mistakes do not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tickstorm import Entity, Input, Player, Refuse, Room, choice, message, synced, text, whole
from tickstorm.cli.types import declarations
from tickstorm.games.room import Game

HERE = Path(__file__).parent
SDK = HERE.parent / "clients" / "js"


class Thief(Player):
    """Somebody who steals."""

    x: float = synced(0.0, step=0.5, smooth=True)
    hand: list[str] = synced([], to="owner")


class Loot(Entity):
    worth: int = synced(1, fixed=True)
    holder: Thief = synced(None)


class Walk(Input):
    dx: int = whole(-1, 1)
    mood: str = choice("calm", "wild")


class Heist(Room):
    """One night."""

    player, input, kinds = Thief, Walk, (Loot,)
    events = {"over": {"winner": str, "loot": int}, "given": {"loot": Loot, "to": Thief | None}}
    phase: str = synced("plan")
    scores: dict[str, int] = synced({})

    @message
    def say(self, player: Thief, words: str = text(20)) -> None:
        """Say it to everyone."""

    @message
    def take(self, player: Thief, new: bool, points: list[tuple[int, int]]) -> int:
        raise Refuse("no")

    @message
    def give(self, player: Thief, loot: Loot, to: Thief | None = None) -> str:
        self.send("given", loot, to)
        return player.name


CLIENT = """
import { join } from "tickstorm";
import type { Heist } from "./heist";

const room = await join<Heist>("heist");
room.input = { dx: 1, mood: "wild" };
room.send("say", "hello");
const left: number = await room.request("take", true, [[1, 2]]);
room.on("over", (winner, loot) => console.log(winner.toUpperCase(), loot + left));
for (const { x, name, hand } of room.sample().thief) console.log(x * 2, name.length, hand?.length);
room.predict("thief", (me, { dx }, dt) => { me.x += dx * dt; });
room.state.listen("phase", (phase) => console.log(phase.length, room.state.scores["Ada"]));
const holder = room.entities("loot")[0].holder;
room.on("given", (loot, to) => console.log(loot?.worth, to?.name));
const said: string = await room.request("give", room.entities("loot")[0], room.me);
room.send("give", 7, null), room.send("give", 7);
console.log(said, holder?.name, holder?.mine, room.me?.connected);
"""

MISTAKES = {
    "room.input = { dz: 1 };": "'dz' does not exist",
    'room.input = { mood: "cross" };': "not assignable",
    'room.send("shout");': "not assignable",
    "room.send('say', 7);": "not assignable",
    'room.send("take", true);': "Expected 3 arguments",
    'const text: string = await room.request("take", true, []);': "not assignable",
    'room.on("begun", () => {});': "not assignable",
    'room.send("give", null);': "not assignable",
    'room.send("give", room.me!.name);': "not assignable",
    "console.log(room.state.phrase);": "'phrase' does not exist",
    'console.log(room.entities("loot")[0].value);': "'value' does not exist",
    "console.log(room.players[0].hand.length);": "possibly 'null'",
}


@pytest.fixture(scope="module")
def compiler():
    """How a program is compiled: ``compile(text)`` returns what the compiler finds wrong."""
    done = subprocess.run(["sh", HERE / "typescript.sh"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return [shutil.which("node"), done.stdout.strip()]


@pytest.fixture
def compile(compiler, tmp_path):
    package = tmp_path / "node_modules" / "tickstorm"
    package.parent.mkdir()
    package.symlink_to(SDK)
    options = {
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "strict": True,
        "noEmit": True,
        "skipLibCheck": False,
        "types": [],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    (tmp_path / "heist.d.ts").write_text(declarations(Game(Heist)))

    def compile(program: str) -> str:
        (tmp_path / "client.ts").write_text(program)
        done = subprocess.run(compiler, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout

    return compile


def test_a_client_compiles_and_its_mistakes_are_found(compile):
    assert compile(CLIENT) == ""
    found = compile(CLIENT + "\n".join(MISTAKES))
    first = len(CLIENT.splitlines()) + 1
    by_line: dict[int, str] = {}
    for line in found.splitlines():
        if line.startswith("client.ts("):
            number = int(line[len("client.ts(") :].partition(",")[0])
            by_line[number] = by_line.get(number, "") + line
    for number, (mistake, reason) in enumerate(MISTAKES.items(), first):
        assert reason in by_line.get(number, ""), f"{mistake}\n{found}"


def test_what_is_declared_reads_well():
    said = declarations(Game(Heist))
    assert "/** Somebody who steals. */\nexport interface Thief {" in said
    assert "  dx: number; // -1 to 1" in said
    assert "  /** Say it to everyone. */\n  say(words: string): null;" in said
    assert "  take(new_: boolean, points: [number, number][]): number;" in said
    assert "  over: [winner: string, loot: number];" in said
    assert "  given: [loot: Entity<Loot> | null, to: Entity<Thief> | null];" in said
    taken = "loot: Entity<Loot> | number, to?: Entity<Thief> | number | null"
    assert f"  give({taken}): string;" in said
    assert "  hand: string[] | null;" in said and "  holder: Entity<Thief> | null;" in said
