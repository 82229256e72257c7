"""The soak's verdict: what grows in the calm life fails, what is merely uneven does not."""

from __future__ import annotations

import pytest

from tests.soak import BOUNDS, Sample, table


def calm(**steps: float) -> list[Sample]:
    """A hundred samples in which these rise by so much each time, and all else wavers."""
    rows = []
    for n in range(100):
        values = {name: 50.0 + n % 7 * 0.2 + steps.get(name, 0.0) * n for name in BOUNDS}
        rows.append(Sample(at=2.0 * n, worker=7, **values))
    return rows


def test_what_wavers_is_flat():
    rows, grown = table(calm())
    assert grown == [] and len(rows) == 1 + len(BOUNDS)


@pytest.mark.parametrize("name", BOUNDS)
def test_what_rises_steadily_is_named(name):
    rows, grown = table(calm(**{name: 1.5}))
    assert grown == [name]
    assert [row for row in rows if "has grown" in row][0].startswith(name)
