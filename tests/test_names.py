"""What people may call themselves and say: printable, normalised, cut at code points."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickstorm.protocol.names import clean


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("Ada", "Ada"),
        ("  Ada \t Lovelace\r\n", "Ada Lovelace"),
        ("\u202eadA\u202c", "adA"),  # bidirectional override
        ("\u2066A\u2069\u200fB", "AB"),  # isolates, right-to-left mark
        ("A\u200bd\u200da\ufeff", "Ada"),  # zero-width
        ("A\0d\x1b[31ma\x7f", "Ad[31ma"),  # control
        ("Ａｄａ", "Ada"),  # full width
        ("ﬁ", "fi"),  # ligature
        ("e\u0301", "é"),  # composed
        ("\ue000\U000f0000", ""),  # private use
        ("\U000e0041", ""),  # tag characters
        ("a\u2028b\u2029c", "abc"),  # line and paragraph separators
        ("\u3164", ""),  # a filler that looks like nothing
        ("\u2800\u115f\u1160\uffa0", ""),
        ("", ""),
        ("☄️ 流星", "☄️ 流星"),
        ("Z\u0335\u0336\u0337\u0338\u0321y", "Z\u0335\u0336\u0337y"),  # marks piled up
    ],
)
def test_names_are_cleaned(text, cleaned):
    assert clean(text, 16, 20) == cleaned


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_a_long_name_is_cut_between_code_points(character):
    for size in range(1, 22):
        name = clean(character * 40, 16, size)
        width = len(character.encode())
        assert name == character * min(16, size // width)


def test_a_name_that_grows_when_normalised_is_still_cut():
    assert len(clean("\ufdfa" * 1000, 16, 20).encode()) <= 20


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(max_size=80), st.integers(1, 40), st.integers(1, 60))
def test_whatever_comes_in_what_comes_out_is_printable_and_short(text, characters, size):
    name = clean(text, characters, size)
    assert len(name) <= characters and len(name.encode()) <= size
    assert name == name.strip()
    assert not {unicodedata.category(c) for c in name} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
