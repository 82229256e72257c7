"""Crazy eights, played by browsers to the end of a round; nobody is sent another's hand."""

from __future__ import annotations

import pytest

from tests.example_steps import reads

pytest_plugins = ["tests.browser", "tests.example_pages"]


@pytest.fixture
def two(visitor):
    ann = visitor("crazy", "Ann")
    bob = visitor(ann.url, "Bob", phone=True)
    return ann, bob


def deal(two) -> None:
    two[0].click("#deal")
    for page in two:
        page.wait_for_function("() => room.state.phase === 'play' && room.me.hand.length === 7")


def due(two):
    """Whose turn it is, as soon as all pages agree on it."""
    ann, bob = two
    ann.wait_for_function("() => room.state.turn || room.state.phase === 'over'")
    name = ann.evaluate("room.state.turn?.name ?? null")
    bob.wait_for_function("(name) => (room.state.turn?.name ?? null) === name", arg=name)
    return {"Ann": ann, "Bob": bob}.get(name)


PLAY = """() => setInterval(() => {
  if (room.state.turn !== room.me) return;
  const [suit, card] = ["#suits[open] button", "#hand [aria-disabled=false]"]
    .map((selector) => document.querySelector(selector));
  const [skip, pile] = [document.querySelector("#skip"), document.querySelector("#pile")];
  (suit ?? card ?? (skip.hidden ? pile : skip)).click();
}, 20)"""
"""Clicks on the first card that fits; else draws, else passes."""


def test_a_round_is_played_to_its_end_and_the_next_one_begins(two):
    deal(two)
    playing = [page.evaluate(PLAY) for page in two]
    for page, timer in zip(two, playing):
        reads(page, "#said", "win")
        page.evaluate(f"clearInterval({timer})")
    assert two[0].evaluate("room.state.winner") in ("Ann", "Bob")
    two[1].click("#deal")
    two[0].wait_for_function("() => room.state.phase === 'play'")


def test_a_hand_is_sent_to_its_holder_alone(visitor, two):
    ann, bob = two
    frames: list[bytes] = []

    def listen(socket):
        socket.on("framereceived", lambda data: frames.append(bytes(data)))

    bob.on("websocket", listen)
    bob.reload()
    bob.wait_for_selector("body.in")
    deal(two)
    hand = ann.evaluate("room.me.hand")
    own = bob.evaluate("room.me.hand")
    came = b"".join(frames)
    assert all(card.encode() in came for card in own)
    assert not any(b"\xa2" + card.encode() in came for card in hand)
    assert bob.evaluate("room.players.find((player) => player !== room.me).hand") is None
    assert bob.evaluate("room.players.find((player) => player !== room.me).count") == 7


def test_whoever_is_not_due_is_refused(two):
    deal(two)
    waiting = two[1] if due(two) is two[0] else two[0]
    waiting.locator("#hand .card").first.click(force=True)  # it is marked as disabled
    if waiting.is_visible("#suits"):
        waiting.click("#suits button[value=S]")
    reads(waiting, "#toasts", "It is not your turn.")


def test_who_comes_during_a_round_waits_for_the_next(two, visitor):
    deal(two)
    eve = visitor(two[0].url, "Eve")
    reads(two[0], "#others", "waits")
    assert eve.evaluate("room.me.hand") == []
    assert not eve.is_visible("#deal")


def test_a_round_with_one_left_is_over(two):
    deal(two)
    two[1].evaluate("room.leave()")
    reads(two[0], "#said", "Invite someone")
