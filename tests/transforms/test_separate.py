"""The options of separate, and stems that still add up after their pieces were joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms import separate
from transforms.engine import engine_class, engines
from transforms.engines.classical import Classical
from transforms.errors import WavemillError
from transforms.records import Audio, Input, Item, Result

RATE_HZ = 44100


def item(engine: str, **options: Any) -> Item:
    cls = engine_class("separate", engine)
    return Item("0" * 64, "a", "separate", engine, cls.Options.parse(options), {"audio": Input("uri", "a.wav")})


@pytest.mark.parametrize("value", [3, "3", 1, 7, "many", 2.5, True])
def test_a_number_of_stems_that_no_engine_has_is_refused_with_the_choices(value: Any) -> None:
    with pytest.raises(WavemillError, match="2, 4, 5 or 6") as caught:
        separate.Options.parse({"stems": value})
    assert (caught.value.code, caught.value.field) == ("bad_option", "stems")


def test_a_number_of_stems_may_be_written_as_text() -> None:
    assert separate.Options.parse({"stems": "4"}) == separate.Options(stems=4)
    assert separate.Options.parse({"stems": "2"}).canonical() == "{}"


@pytest.mark.parametrize(
    ("engine", "stems", "said"), [("classical", 4, "demucs makes 4 and 6"), ("classical", 6, "demucs"), ("demucs", 5, "2, 4, 6, not 5")]
)
def test_an_engine_refuses_a_number_of_stems_that_only_others_have(engine: str, stems: int, said: str) -> None:
    with pytest.raises(WavemillError, match=said) as caught:
        engine_class("separate", engine)().check(item(engine, stems=stems))
    assert (caught.value.code, caught.value.field) == ("bad_option", "stems")


def test_every_engine_makes_the_usual_two() -> None:
    for name in engines("separate"):
        engine_class("separate", name)().check(item(name))


def test_stems_of_audio_in_several_pieces_add_up_to_the_mix() -> None:
    class Short(Classical):
        max_s = 3.0
        overlap_s = 1.0

    engine = Short()
    engine.load(None)  # type: ignore[arg-type]  # it looks at no place
    given = item("classical")
    drawn = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 10 * RATE_HZ + 17)).astype(np.float32)
    pieces = separate.split(given, {"audio": Audio(drawn, RATE_HZ)}, engine)
    results = [outcome for outcome in engine.run(pieces) if isinstance(outcome, Result)]
    assert len(results) == len(pieces) == 5
    joined = separate.join(given, pieces, results, engine)
    assert joined.fields == {"method": "repet-sim+centre"}
    assert list(joined.outputs) == ["vocals", "instrumental"]
    np.testing.assert_allclose(sum(stem.samples for stem in joined.outputs.values()), drawn, atol=1e-6)
    engine.close()
