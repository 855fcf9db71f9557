"""Stock voices and their mixes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from transforms import voices
from transforms.errors import WavemillError

names = st.sampled_from(sorted(voices.stock("kokoro")))
weights = st.dictionaries(names, st.floats(0.01, 100), min_size=1, max_size=5)


def test_kokoro_has_54_voices_that_say_their_language_and_gender() -> None:
    stock = voices.stock("kokoro")
    assert len(stock) == 54
    assert len({voice.sha256 for voice in stock.values()}) == 54
    bella = stock["af_bella"]
    assert (bella.language, bella.gender, bella.name) == ("en-us", "female", "Bella")
    assert {voice.language for voice in stock.values()} == {"en-us", "en-gb", "es", "fr", "hi", "it", "ja", "pt-br", "zh"}


def test_pipers_voices_are_its_rows_of_the_table() -> None:
    joe = voices.stock("piper")["en_US-joe-medium"]
    assert (joe.language, joe.name) == ("en-us", "Joe")
    assert joe.sha256.startswith("58afce03")
    assert voices.stock("echo") == {}
    genders = {voice.name: voice.gender for voice in voices.stock("piper").values()}
    men, women = ("Joe", "Thorsten", "Davefx", "Faber"), ("Ljspeech", "Siwis", "Paola")
    assert genders == dict.fromkeys(men, "male") | dict.fromkeys(women, "female")


def test_a_name_alone_is_a_mix_of_one() -> None:
    assert voices.resolve("kokoro", "af_bella") == (("af_bella", 1.0),)


def test_a_mix_is_written_with_weights_in_any_order() -> None:
    expected = (("af_bella", 0.6), ("af_sky", 0.4))
    for written in (
        "af_bella:0.6+af_sky:0.4",
        "af_sky:0.4+af_bella:0.6",
        " af_bella : 3 + af_sky : 2 ",
        "af_bella:1.2+af_sky:.8",
    ):
        found = voices.resolve("kokoro", written)
        assert [id for id, _ in found] == [id for id, _ in expected]
        assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


def test_voices_without_weights_count_alike_and_a_voice_named_twice_counts_twice() -> None:
    assert voices.resolve("kokoro", "af_sky+af_bella") == (("af_bella", 0.5), ("af_sky", 0.5))
    assert voices.resolve("kokoro", "af_sky:1+af_bella:2+af_sky:1") == (("af_bella", 0.5), ("af_sky", 0.5))


@given(weights)
def test_the_weights_of_any_mix_add_up_to_one_and_keep_their_proportions(given: dict[str, float]) -> None:
    mix = voices.resolve("kokoro", "+".join(f"{name}:{weight!r}" for name, weight in given.items()))
    assert sum(weight for _, weight in mix) == pytest.approx(1)
    assert [id for id, _ in mix] == sorted(given)
    total = sum(given.values())
    for id, weight in mix:
        assert weight == pytest.approx(given[id] / total)


def test_an_unknown_voice_is_told_what_is_near() -> None:
    with pytest.raises(WavemillError, match="af_bella") as caught:
        voices.resolve("kokoro", "af_bela")
    assert (caught.value.code, caught.value.field) == ("unknown_voice", "voice")


@pytest.mark.parametrize("weight", ["", "much", "0", "-1", "nan", "inf"])
def test_a_weight_that_is_no_number_above_zero_is_refused(weight: str) -> None:
    with pytest.raises(WavemillError) as caught:
        voices.resolve("kokoro", f"af_bella:{weight}+af_sky")
    assert (caught.value.code, caught.value.field) == ("bad_option", "voice")


@pytest.mark.parametrize("name", ["", "+", "af_bella+", "af_bella++af_sky"])
def test_a_mix_with_a_hole_names_no_voice(name: str) -> None:
    with pytest.raises(WavemillError) as caught:
        voices.resolve("kokoro", name)
    assert caught.value.code == "unknown_voice"


def test_packs_and_weights_both_make_the_digest_of_a_mix() -> None:
    digests = {
        voices.pack_digest("kokoro", voices.resolve("kokoro", name))
        for name in ("af_bella", "af_sky", "af_bella+af_sky", "af_bella:2+af_sky", "af_bella+af_sky:2")
    }
    assert len(digests) == 5
