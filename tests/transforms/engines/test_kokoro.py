"""Kokoro: voices, mixes, languages, speed, and texts longer than its model takes."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms import kokoro_pitch, phonemes
from transforms.engine import Place, engine_class
from transforms.engines.kokoro import MAX_TOKENS, VOICES, Kokoro, _cut
from transforms.errors import WavemillError
from transforms.pull import pull
from transforms.records import Audio, Failure, Input, Item, Piece, Result
from transforms.settings import Settings


@pytest.fixture(scope="module")
def engine() -> Iterator[Kokoro]:
    settings = Settings()
    for model in Kokoro().models(Kokoro.Options()):
        pull(model, settings)
    made = Kokoro()
    made.load(Place("cpu", 1, settings.models_dir))
    yield made
    made.close()


def say(engine: Kokoro, text: str, **options: Any) -> Audio:
    (outcome,) = engine.run([Piece({"text": text}, Kokoro.Options.parse(options), 0)])
    assert isinstance(outcome, Result)
    audio = outcome.outputs["audio"]
    assert isinstance(audio, Audio)
    return audio


def item(**options: Any) -> Item:
    return Item("0" * 64, "a", "synthesize", "kokoro", Kokoro.Options.parse(options), {"text": Input("text", "Hello.")})


def test_what_is_said_is_heard(engine: Kokoro) -> None:
    soxr = pytest.importorskip("soxr")
    settings = Settings()
    whisper = engine_class("transcribe", "faster-whisper")()
    options = whisper.Options.parse({"model": "base", "language": "en"})
    pull("whisper-base", settings)
    whisper.load(Place("cpu", 1, settings.models_dir))
    text = "The keeper had not spoken to anyone for days."
    said = say(engine, text, voice="bm_george")
    heard = Audio(soxr.resample(said.samples[0], said.rate_hz, 16000)[None], 16000)
    (outcome,) = whisper.run([Piece({"audio": heard}, options, 0)])
    assert isinstance(outcome, Result)
    words = [sentence.lower().strip(" .").split() for sentence in (text, outcome.fields["text"])]
    assert SequenceMatcher(None, *words).ratio() > 0.9


def test_speed_makes_speech_shorter_and_longer(engine: Kokoro) -> None:
    usual, fast, slow = (say(engine, "It is late.", speed=speed).duration_s for speed in (1.0, 2.0, 0.5))
    assert fast < 0.8 * usual
    assert slow > 1.3 * usual


def test_a_mix_is_neither_of_its_voices_and_its_order_does_not_matter(engine: Kokoro) -> None:
    names = ("af_bella", "am_adam", "af_bella:0.6+am_adam:0.4", "am_adam:0.4+af_bella:0.6")
    bella, adam, mixed, turned = (say(engine, "Hello.", voice=name).samples for name in names)
    assert np.array_equal(mixed, turned)
    for alone in (bella, adam):
        assert mixed.shape != alone.shape or not np.array_equal(mixed, alone)
    packs = [engine._pack(mix) for mix in ((("af_bella", 1.0),), (("am_adam", 1.0),), (("af_bella", 0.6), ("am_adam", 0.4)))]
    assert np.allclose(0.6 * packs[0] + 0.4 * packs[1], packs[2], atol=1e-6)


class ShortKokoro(Kokoro):
    """Its limit is small, for the real one takes a minute to reach."""

    max_tokens = 16


def test_a_text_longer_than_the_model_takes_is_said_in_parts_and_whole(engine: Kokoro) -> None:
    short = ShortKokoro()
    short.load(Place("cpu", 1, Settings().models_dir))
    parts = [say(engine, text).samples for text in ("One went home.", "Two stayed.")]
    assert np.array_equal(say(short, "One went home. Two stayed.").samples, np.concatenate(parts, axis=1))


SENTENCES = {
    "a": ("Dr. Smith paid $45.50 in 2024.", "dˈɑktəɹ smˈɪθ pˈAd"),
    "b": ("The bath was cold.", "bˈɑːθ"),
    "e": ("¡Hola! ¿Cómo estás?", "ˈola! kˈomo"),
    "f": ("Bonjour, comment ça va ?", "bɔ̃ʒˈuʁ"),
    "h": ("नमस्ते, आप कैसे हैं?", "nəmˈʌsteː"),
    "i": ("Ciao, come stai?", "ʧˈao"),
    "j": ("こんにちは、世界。", "koɲɲiʨiβa, sekai."),
    "p": ("Olá, como você está?", "olˈa"),
    "z": ("你好，世界。", "ni↓xau↓, ʂɨ↘ʨje↘."),
}


@pytest.mark.parametrize("language", phonemes.LANGUAGES)
def test_each_of_the_nine_languages_has_phonemes_the_model_knows(language: str) -> None:
    text, expected = SENTENCES[language]
    said = phonemes.phonemes(text, language)
    assert expected in said
    assert set(said) <= set(phonemes.ALPHABET)
    assert phonemes.phonemes(text, language) == said


def test_words_in_latin_letters_inside_chinese_and_japanese_are_said_as_english() -> None:
    name = phonemes.phonemes("London", "a")
    assert name in phonemes.phonemes("我喜欢London，很好！", "z")
    assert name in phonemes.phonemes("私はLondonが好きです。", "j")
    assert " ," not in phonemes.phonemes("我喜欢London，很好！", "z")


def test_each_language_is_spoken_with_a_voice_of_its_own(engine: Kokoro) -> None:
    assert {letter: engine.language(Kokoro.Options.parse({"voice": voice})) for letter, voice in VOICES.items()} == phonemes.LANGUAGES
    audio = say(engine, "Olá.", language="pt-br")
    assert audio.duration_s > 0.4
    assert np.array_equal(audio.samples, say(engine, "Olá.", voice="pf_dora").samples)


@pytest.mark.parametrize(
    ("voice", "language", "spoken"),
    [
        ("", None, "en-us"),
        ("", "es", "es"),
        ("", "en_GB", "en-gb"),
        ("bm_george", None, "en-gb"),
        ("bm_george", "en", "en-gb"),
        ("bm_george", "en-US", "en-us"),
        ("af_bella", "fr-FR", "fr"),
        ("af_bella:0.4+bf_emma:0.6", None, "en-gb"),
        ("pm_alex", "pt", "pt-br"),
        ("", "zh-CN", "zh"),
    ],
)
def test_the_language_is_that_of_the_option_else_of_the_heaviest_voice(voice: str, language: str | None, spoken: str) -> None:
    assert Kokoro().language(Kokoro.Options.parse({"voice": voice, "language": language})) == spoken


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"voice": "af_bela"}, "unknown_voice"),
        ({"voice": "af_bella:0.5+nobody:0.5"}, "unknown_voice"),
        ({"voice": "af_bella:0"}, "bad_option"),
        ({"language": "de"}, "unsupported_language"),
        ({"language": ""}, "unsupported_language"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_loaded(options: dict[str, Any], code: str) -> None:
    with pytest.raises(WavemillError) as caught:
        Kokoro().check(item(**options))
    assert caught.value.code == code


def test_the_model_and_every_voice_of_the_mix_are_in_the_identity() -> None:
    def weights(**options: Any) -> str:
        return Kokoro().weights(Kokoro.Options.parse(options))

    told = [weights(voice=voice) for voice in ("af_bella", "af_sky", "af_bella+af_sky", "af_bella:2+af_sky")]
    assert len({*told, weights(model="fp32")}) == 5
    assert weights() == weights(voice="af_bella")


def test_a_device_that_is_not_here_is_refused_when_loading() -> None:
    with pytest.raises(WavemillError, match="mps") as caught:
        Kokoro().load(Place("mps", 1, Settings().models_dir))
    assert caught.value.code == "engine_unloadable"


def test_punctuation_alone_cannot_be_spoken(engine: Kokoro) -> None:
    (outcome,) = engine.run([Piece({"text": "… — !"}, Kokoro.Options(), 0)])
    assert isinstance(outcome, Failure)
    assert outcome.code == "empty_text"


@given(st.text(st.sampled_from("ab ˈ,.!—"), max_size=2000))
def test_phonemes_are_cut_into_parts_that_fit_and_lose_nothing_but_spaces(said: str) -> None:
    parts = list(_cut(said, MAX_TOKENS))
    assert all(0 < len(part) <= MAX_TOKENS for part in parts if part)
    assert "".join(parts).replace(" ", "") == said.replace(" ", "")


def test_phonemes_are_cut_after_a_sentence_rather_than_a_clause_or_a_word() -> None:
    sentence, clause = "a" * 300 + ". " + "b" * 100 + ", " + "c c " * 100, "a" * 300 + ", " + "b b " * 100
    assert next(_cut(sentence, MAX_TOKENS)) == "a" * 300 + "."
    assert next(_cut(clause, MAX_TOKENS)) == "a" * 300 + ","
    assert next(_cut("ab " * 300, MAX_TOKENS)).endswith("ab")


def melody(engine: Kokoro, **values: float) -> tuple[float, float, int]:
    """The mean pitch of a sentence in semitones, how far it is spread, and how many samples were spoken."""
    import librosa

    text = "The clock above the mill had stopped a long time ago, and nobody knew why."
    (outcome,) = engine.run([Piece({"text": text}, Kokoro.Options.parse(values), 0)])
    assert isinstance(outcome, Result)
    samples = outcome.outputs["audio"].samples[0]
    f0, voiced, _ = librosa.pyin(samples, fmin=60, fmax=500, sr=24000)
    heard = 12 * np.log2(f0[voiced])
    return float(heard.mean()), float(heard.std()), samples.size


@pytest.mark.slow
def test_the_pitch_is_moved_and_stretched_and_the_words_stay_where_they_were(engine: Kokoro) -> None:
    level, spread, frames = melody(engine)
    higher = melody(engine, pitch=3)
    assert higher[0] - level == pytest.approx(3, abs=0.6)
    assert higher[2] == frames
    assert melody(engine, pitch_range=0.3)[1] < 0.85 * spread
    assert melody(engine, pitch_range=1.5)[1] > 1.2 * spread


def test_a_graph_without_a_pitch_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    onnx.save(helper.make_model(graph), str(tmp_path / "m.onnx"))
    with pytest.raises(WavemillError) as caught:
        kokoro_pitch.with_pitch(tmp_path / "m.onnx")
    assert caught.value.code == "engine_unloadable"
