"""The options of dereverb, and what they mean to the sound: stronger takes more, and neither part touches the other's."""

from __future__ import annotations

from itertools import pairwise

import pytest

from transforms import chunks, dereverb, room
from transforms.errors import WavemillError


def test_both_at_medium_intensity_is_what_nothing_asked_means() -> None:
    options = dereverb.Options()
    assert (options.type, options.intensity) == ("both", 3)
    assert (dereverb.split, dereverb.join) == (chunks.split, chunks.join)


@pytest.mark.parametrize(
    ("values", "field"), [({"intensity": 0}, "intensity"), ({"intensity": 6}, "intensity"), ({"type": "hall"}, "type")]
)
def test_what_is_no_intensity_or_type_is_refused_by_name(values: dict[str, object], field: str) -> None:
    with pytest.raises(WavemillError) as caught:
        dereverb.Options.parse(values)
    assert (caught.value.code, caught.value.field) == ("bad_option", field)


def test_every_intensity_takes_at_least_what_the_one_below_it_takes() -> None:
    assert list(room.STRENGTHS) == [1, 2, 3, 4, 5]
    for weaker, stronger in pairwise(room.STRENGTHS.values()):
        assert stronger != weaker
        assert all(a <= b for a, b in zip(weaker, stronger, strict=True))
