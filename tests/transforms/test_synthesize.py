"""Text to pieces, and what was said of them to one audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from transforms import identity, synthesize
from transforms.engine import Engine
from transforms.engines.echo import EchoSpeech
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Input, Item, Outcome, Piece, Result
from transforms.text import clean, normalize

KEY = "5eed" * 16


class Speaker(Engine):
    """Says a tone of 60 ms a letter between stretches of silence, as real engines do."""

    name, operation, rate_hz, max_chars, gated = "speaker", "synthesize", 24000, 120, True
    Options = synthesize.Options
    quiet_s = 0.2

    def language(self, options: BaseOptions) -> str:
        return getattr(options, "language", None) or "en"

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        edge = np.zeros((1, round(self.quiet_s * self.rate_hz)), np.float32)
        outcomes: list[Outcome] = []
        for piece in pieces:
            frames = round(0.06 * len(str(piece.inputs["text"])) * self.rate_hz)
            tone = (0.5 * np.cos(np.arange(frames) * 0.1)).astype(np.float32)[None]
            samples = np.concatenate([edge, tone, edge], axis=1)
            outcomes.append(Result({"letters": frames, "voice": "x"}, {"audio": Audio(samples, self.rate_hz)}))
        return outcomes


def item(text: str, options: BaseOptions | None = None, **changed: Any) -> Item:
    options = options or synthesize.Options.parse(changed)
    return Item(KEY, "r0", "synthesize", "speaker", options, {"text": Input("text", text)})


def split(text: str, engine: Engine | None = None, **changed: Any) -> list[Piece]:
    return synthesize.split(item(text, **changed), {"text": text}, engine or Speaker())


def texts_of(pieces: Sequence[Piece]) -> list[str]:
    return [str(piece.inputs["text"]) for piece in pieces]


def speak(text: str, engine: Engine | None = None, **changed: Any) -> Result:
    engine = engine or Speaker()
    one = item(text, engine.Options.parse(changed))
    pieces = synthesize.split(one, {"text": text}, engine)
    results = [outcome for outcome in engine.run(pieces) if isinstance(outcome, Result)]
    return synthesize.join(one, pieces, results, engine)


def silences_s(audio: Audio) -> list[float]:
    """The lengths of the stretches of plain silence, rounded to 10 ms, those under 50 ms left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (audio.samples[0] == 0).astype(int), [0]])))
    lengths = [(end - start) / audio.rate_hz for start, end in edges.reshape(-1, 2)]
    return [round(length, 2) for length in lengths if length > 0.05]


LONG = "The rain fell on the roofs of the old town all night long. "


def test_a_piece_is_a_sentence_and_short_ones_have_company() -> None:
    pieces = split(f"{LONG}Yes. He slept. {LONG}")
    assert texts_of(pieces) == [LONG.strip(), f"Yes. He slept. {LONG.strip()}"]


def test_the_seeds_are_those_of_the_key_and_the_index() -> None:
    assert [piece.seed for piece in split(LONG * 3)] == [identity.seed(KEY, n) for n in range(3)]


def test_pauses_follow_the_options_and_the_speed() -> None:
    pieces = split(f"{LONG}{LONG}\n\n{LONG}", sentence_pause=0.4, paragraph_pause=1, speed=2)
    assert [(piece.lead_s, piece.pause_s) for piece in pieces] == [(0, 0.2), (0, 0.5), (0, 0)]


def test_a_marker_takes_the_place_of_the_pause_and_is_never_said() -> None:
    text = f"[pause:1s]{LONG}[pause:500ms]{LONG}\n\n[pause:0s] and [pause:2s] [pause:1.5s] so on. [pause:30s]"
    pieces = split(text, speed=2)
    assert [(piece.lead_s, piece.pause_s) for piece in pieces] == [(1, 0.5), (0, 0), (0, 3.5), (0, 10)]
    assert texts_of(pieces) == [LONG.strip(), LONG.strip(), "and", "so on."]


def test_hours_of_pauses_are_refused() -> None:
    with pytest.raises(WavemillError) as raised:
        split("a [pause:10s] " * 400)
    assert raised.value.code == "audio_too_long"


@pytest.mark.parametrize("text", ["", " \n ", "😀👍", "...!?", "***", "[pause:1s]", "\u200b", "\ud800", "— … “”"])
def test_nothing_to_say_is_empty_text(text: str) -> None:
    with pytest.raises(WavemillError) as raised:
        split(text)
    assert (raised.value.code, raised.value.field) == ("empty_text", "text")


@pytest.mark.parametrize("text", ["a", "7", "я", "漢", "ש", "ไ", "न", "Yes 😀", "½"])
def test_a_single_letter_or_digit_of_any_script_can_be_said(text: str) -> None:
    assert len(split(text)) == 1


def test_text_is_left_as_it_is_when_normalize_is_off() -> None:
    assert texts_of(split("Dr. No paid $5 for 3*3 “x”.\x00", normalize=False)) == ["Dr. No paid $5 for 3*3 “x”."]


def test_the_lexicon_is_said_as_written_and_not_prepared() -> None:
    pieces = split("Kokoro cost $5 in 2024.", lexicon={"kokoro": "[Kokoro](/kˈOkəɹO/) no. 1", "2024": "twenty-24"})
    assert texts_of(pieces) == ["[Kokoro](/kˈOkəɹO/) no. 1 cost five dollars in twenty-24."]


def test_the_language_is_the_options_or_the_engines() -> None:
    class Spanish(Speaker):
        def language(self, options: BaseOptions) -> str:
            return "es"

    assert texts_of(split("5 a 7", Spanish())) == ["cinco a siete"]
    assert texts_of(split("5 a 7", language="fr")) == ["cinq a sept"]


words = st.sampled_from(["a", "Yes.", "What?", "the", "Mr. X", "5", "$3.50", "so,", "😀", "**", "...", "今日は。", "\n", "\n\n", "y" * 130])
passages = st.lists(words, max_size=60).map(" ".join)
markers = st.sampled_from(["", "[pause:1s]", " [pause:20ms] "])


@given(st.one_of(passages, st.text()), markers, passages, st.booleans(), st.sampled_from(["en", "es", "ja", "hi"]))
@settings(max_examples=150)
def test_the_words_of_the_pieces_are_the_words_of_the_text(before: str, marker: str, after: str, normal: bool, language: str) -> None:
    engine = Speaker()
    try:
        pieces = split(f"{before} {marker} {after}", engine, normalize=normal, language=language)
    except WavemillError as error:
        pieces, code = [], error.code
        spoken = normalize(before + after, language) if normal else clean(before + after)
        assert (code, any(map(str.isalnum, spoken))) == ("empty_text", False)
    spoken = texts_of(pieces)
    assert all(0 < len(text) <= engine.max_chars and text == text.strip() for text in spoken)
    assert all(any(map(str.isalnum, text)) for text in spoken)
    if normal and not marker and "\n" not in before + after:
        whole = normalize(f"{before}  {after}", language)
        assert [c for text in spoken for c in text if c.isalnum()] == [c for c in whole if c.isalnum()]
    if not normal:
        assert [c for text in spoken for c in text if c.isalnum()] == _letters(before + after)


def _letters(text: str) -> list[str]:
    return [c for c in clean(text) if c.isalnum()]


@pytest.mark.parametrize("text", ["x" * 100_000, "word " * 20_000, "One. " * 20_000, "1,234.5 " * 2_000])
def test_long_texts_are_split_in_a_moment(text: str) -> None:
    pieces = split(text)
    letters = "".join(texts_of(pieces)).replace(" ", "")
    assert letters == normalize(text).replace(" ", "")


def test_the_pauses_between_pieces_are_as_long_as_asked() -> None:
    result = speak(f"[pause:0.7s]{LONG}{LONG}\n\n{LONG}[pause:1.2s]", sentence_pause=0.3, paragraph_pause=0.9)
    # each edge of a piece keeps 30 ms of its own silence, to which the tone's block of 10 ms may add
    assert silences_s(result.outputs["audio"]) == pytest.approx([0.73, 0.36, 0.96, 1.23], abs=0.021)
    assert result.fields["characters"] == len(f"[pause:0.7s]{LONG}{LONG}\n\n{LONG}[pause:1.2s]")
    assert result.fields["pieces"] == 3


def test_numbers_of_the_pieces_add_up_and_words_are_the_firsts() -> None:
    fields = speak(LONG * 2).fields
    assert fields["letters"] == 2 * round(0.06 * len(LONG.strip()) * 24000)
    assert fields["voice"] == "x"


def test_the_samples_add_up_to_the_pieces_and_their_pauses() -> None:
    echo = EchoSpeech()
    audio = speak(f"[pause:0.5s]{LONG}{LONG}[pause:0.25s]", echo, sentence_pause=0.1).outputs["audio"]
    assert audio.frames == round((0.5 + 0.1 + 0.1 + 0.1 + 0.25) * 24000)
    assert audio.samples.dtype == np.float32


class Timed(Speaker):
    """Also tells when it said the first and the last letter, which its silence at the edges moves."""

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        told: list[Outcome] = []
        for piece, outcome in zip(pieces, super().run(pieces), strict=True):
            assert isinstance(outcome, Result)
            text, end_s = str(piece.inputs["text"]), outcome.outputs["audio"].duration_s - self.quiet_s
            words = [{"word": text[0], "start": 0.1, "end": self.quiet_s + 0.06}, {"word": text[-1], "start": end_s - 0.06, "end": end_s}]
            told.append(Result({"words": words}, outcome.outputs))
        return told


def test_times_of_words_are_those_of_the_whole_with_its_pauses_and_without_what_was_cut() -> None:
    first, second = "Alphabetical letters follow each other closely", "Bees sleep in the garden when it is dark outside"
    result = speak(f"[pause:2s]{first}.[pause:1s]{second}.", Timed())
    spoken_s = [0.06 * len(f"{text}.") for text in (first, second)]
    begins_s = (2.0 + 0.03, 2.0 + 0.03 + spoken_s[0] + 0.03 + 1.0 + 0.03)
    assert [word["word"] for word in result.fields["words"]] == ["A", ".", "B", "."]
    times = [(word["start"], word["end"]) for word in result.fields["words"]]
    for n, (begin_s, lasts_s) in enumerate(zip(begins_s, spoken_s, strict=True)):
        # the first word is told to begin in silence that was cut: it begins with the piece
        assert times[2 * n] == (pytest.approx(begin_s - 0.03, abs=0.011), pytest.approx(begin_s + 0.06, abs=0.011))
        assert times[2 * n + 1] == (pytest.approx(begin_s + lasts_s - 0.06, abs=0.011), pytest.approx(begin_s + lasts_s, abs=0.011))
    assert result.fields["words"][-1]["end"] <= result.outputs["audio"].duration_s


def test_no_click_where_pieces_meet() -> None:
    class Loud(Speaker):
        gated = False
        quiet_s = 0.0

    samples = speak(LONG * 3, Loud(), sentence_pause=0.0).outputs["audio"].samples[0]
    inside = 0.5 * 0.1  # the steepest step of the tone itself; cut without fades, the seams would jump by 0.5
    assert np.abs(np.diff(samples)).max() < inside * 1.2
    assert abs(samples[0]) < 0.01
    assert abs(samples[-1]) < 0.01


@pytest.mark.parametrize(("seconds", "level", "why"), [(3, 0, "no sound"), (60, 0.5, "60.00 s for"), (0.1, 0.5, "0.10 s for")])
def test_a_piece_that_cannot_be_its_text_is_named(seconds: float, level: float, why: str) -> None:
    engine = Speaker()
    one = item(LONG * 3)
    pieces = synthesize.split(one, {"text": LONG * 3}, engine)
    results = [outcome for outcome in engine.run(pieces) if isinstance(outcome, Result)]
    bad = (level * np.cos(np.arange(round(seconds * 24000)) * 0.1)).astype(np.float32)[None]
    results[1] = Result(outputs={"audio": Audio(bad, 24000)})
    with pytest.raises(WavemillError, match=f"piece 2 of 3 .*{why}") as raised:
        synthesize.join(one, pieces, results, engine)
    assert raised.value.code == "engine_error"


def test_the_gates_leave_an_engine_alone_that_does_not_speak() -> None:
    result = speak(LONG * 5, EchoSpeech())
    assert result.fields["pieces"] == 5
    one = speak(LONG, EchoSpeech())
    assert one.outputs["audio"].frames == 2400


def test_pieces_at_different_rates_are_the_engines_fault() -> None:
    one = item(LONG * 2)
    pieces = synthesize.split(one, {"text": one.inputs["text"].value}, EchoSpeech())
    results = [Result(outputs={"audio": Audio(np.ones((1, 99), np.float32), rate_hz)}) for rate_hz in (8000, 16000)]
    with pytest.raises(WavemillError, match="8000"):
        synthesize.join(one, pieces, results, EchoSpeech())
