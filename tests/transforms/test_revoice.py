"""Speech at the times of a source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms import restyle, revoice
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.records import Audio, Item, Result

RATE_HZ = 1000


def say(text: str, rate: float) -> Audio:
    """A tenth of a second a letter."""
    return Audio(np.ones((1, round(len(text) * 100 / rate)), np.float32), RATE_HZ)


@st.composite
def timed(draw: st.DrawFn) -> list[dict[str, object]]:
    found, at = [], 0.0
    for _ in range(draw(st.integers(0, 6))):
        at += draw(st.floats(0, 2))
        length = draw(st.floats(0.5, 3))
        found.append({"start": at, "end": at + length, "text": "x" * draw(st.integers(1, 30))})
        at += length
    return found


@given(timed(), st.floats(0, 5))
def test_the_result_is_never_shorter_than_its_source_and_holds_every_segment(segments: list[dict[str, float]], after: float) -> None:
    total = (segments[-1]["end"] if segments else 0.0) + after
    spoken = revoice.speak(segments, say, total, RATE_HZ)
    assert spoken.frames >= round(total * RATE_HZ) - 1
    least = sum(len(str(s["text"])) * 100 / revoice.FASTEST for s in segments)
    assert spoken.samples.sum() >= least - len(segments)


def test_a_segment_begins_where_its_source_began_and_is_as_long() -> None:
    segments = [{"start": 1.0, "end": 2.0, "text": "x" * 12}, {"start": 3.0, "end": 4.0, "text": "x" * 9}]
    spoken = revoice.speak(segments, say, 5.0, RATE_HZ).samples[0]
    assert np.flatnonzero(np.diff(spoken)).tolist() == pytest.approx([999, 1999, 2999, 3999], abs=2)


@pytest.mark.parametrize("speed", [0.5, 0.75, 1.25, 2.0])
def test_at_another_speed_all_times_are_divided_by_it_and_speech_fills_its_own(speed: float) -> None:
    segments = [{"start": 1.0, "end": 2.0, "text": "x" * 12}, {"start": 2.5, "end": 3.5, "text": "x" * 9}]
    spoken = revoice.speak(segments, say, 4.0, RATE_HZ, speed=speed)
    assert spoken.frames == round(4000 / speed)
    edges = np.flatnonzero(np.diff(spoken.samples[0])) + 1
    assert edges.tolist() == pytest.approx([1000 / speed, 2000 / speed, 2500 / speed, 3500 / speed], abs=2)


def test_what_does_not_fit_pushes_the_next_one_back_until_a_pause() -> None:
    segments = [
        {"start": 0.0, "end": 1.0, "text": "x" * 30},
        {"start": 1.0, "end": 2.0, "text": "x" * 10},
        {"start": 6.0, "end": 7.0, "text": "x" * 10},
    ]
    spoken = revoice.speak(segments, say, 7.0, RATE_HZ).samples[0]
    assert spoken.sum() == pytest.approx(2000 + 1000 + 1000, abs=3)
    assert spoken[3001:5999].sum() == 0
    assert spoken.shape == (7000,)


def test_a_sad_voice_takes_longer_and_an_excited_one_less() -> None:
    segments = [{"start": 0.0, "end": 1.0, "text": "a"}, {"start": 2.0, "end": 3.0, "text": "b"}]
    lengths = {name: restyle.paced(segments, 3.0, preset)[1] for name, preset in restyle.PRESETS.items()}
    assert lengths["excited"] < lengths["happy"] < lengths["neutral"] == 3.0 < lengths["sad"]


def joined(*texts: str) -> Result:
    results = [Result({"text": text, "language": "en"}, {"audio": say("x" * 10, 1.0)}) for text in texts]
    engine = engine_class("restyle", "cascade")()
    item = Item("0" * 64, "a", "restyle", "cascade", engine.Options(), {})
    return revoice.join(item, [], results, engine)


def test_a_piece_in_which_nobody_speaks_is_silent_and_an_item_of_such_alone_is_refused() -> None:
    assert joined("Good day.", "", "And bye.").fields["text"] == "Good day. And bye."
    for silent in ([""], ["", " "]):
        with pytest.raises(WavemillError) as caught:
            joined(*silent)
        assert (caught.value.code, caught.value.field) == ("empty_text", "audio")
