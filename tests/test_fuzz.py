"""What was found by fuzzing stays mended, and mutations of it find nothing new."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import TARGETS, corpus, mutated

MUTATIONS = 600


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_and_mutations_of_it_raise_nothing_unforeseen(target):
    inputs = corpus(target)
    assert len(inputs) >= 5
    for data in inputs:
        TARGETS[target](data)
    chance = random.Random(1)
    for _ in range(MUTATIONS):
        data = mutated(chance.choice(inputs), chance)
        try:
            TARGETS[target](data)
        except Exception as error:
            raise AssertionError(f"for tests/corpus/{target}: {data!r}") from error
