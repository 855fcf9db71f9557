"""Speech written down while it is spoken: nothing is lost, doubled or changed once it is final, however its chunks come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms import vad
from transforms.engine import Place, engine_class
from transforms.errors import WavemillError
from transforms.live import RATE_HZ, Chunk, Message, Session
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

WORD_S = 0.3
Hear = Callable[[Session], dict[str, Any]]


def loud(audio: Audio) -> list[vad.Span]:
    """Spans of what is not silence, in place of a model."""
    spoken = np.abs(audio.samples[0]) > 0.1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], spoken, [False]]).astype(np.int8)))
    spans: list[vad.Span] = []
    for start, end in edges.reshape(-1, 2):
        if spans and start - spans[-1][1] < vad.MIN_SILENCE_S * RATE_HZ:
            spans[-1] = (spans[-1][0], int(end))
        else:
            spans.append((int(start), int(end)))
    return spans


@pytest.fixture(autouse=True)
def by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "find_speech", loud)


def speech(pauses: Sequence[int]) -> np.ndarray:
    """A word of .3 s before each pause, whose length is in tenths of a second."""
    parts = [np.zeros(RATE_HZ // 2, np.int16)]
    for pause in pauses:
        parts += [np.full(round(WORD_S * RATE_HZ), 9000, np.int16), np.zeros(pause * RATE_HZ // 10, np.int16)]
    return np.concatenate(parts)


def truth(samples: np.ndarray) -> list[tuple[float, float, str]]:
    """Each word of the speech, with its number."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], samples != 0, [0]]).astype(np.int8))).reshape(-1, 2)
    frames = round(WORD_S * RATE_HZ)
    starts = [at for start, end in edges for at in range(start, end, frames)]
    return [(at / RATE_HZ, (at + frames) / RATE_HZ, f" w{n}") for n, at in enumerate(starts)]


def hearer(samples: np.ndarray) -> Hear:
    """A recognizer that mishears a word whose end it has not heard yet."""
    words = truth(samples)

    def hear(session: Session) -> dict[str, Any]:
        start_s = session.at / RATE_HZ
        end_s = start_s + session.to_hear().duration_s
        heard = [
            [max(start, start_s) - start_s, min(end, end_s) - start_s, word if end <= end_s - 0.1 or end_s - end > -1e-9 else " w?", 1.0]
            for start, end, word in words
            if start < end_s - 0.05 and end > start_s + 0.05
        ]
        return {"language": "en", "segments": [{"words": heard}] if heard else []}

    return hear


def chunked(samples: np.ndarray, lengths: Sequence[int]) -> list[Chunk]:
    """Chunks of as many milliseconds, over and over."""
    found, at = [], 0
    while at < len(samples):
        length = lengths[len(found) % len(lengths)] * RATE_HZ // 1000
        found.append(Chunk(len(found), samples[at : at + length], at + length >= len(samples)))
        at += length
    return found


def follow(chunks: Sequence[Chunk], hear: Hear, restart: bool = False) -> tuple[list[Message], list[str]]:
    """What a session says to its chunks, and the codes of what was wrong with them."""
    session, said, wrong = Session(), [], []
    for chunk in chunks:
        if restart:
            session = Session.restored(session.state())
        try:
            wrong += [error.code for error in session.feed(chunk)]
        except WavemillError as error:
            wrong.append(error.code)
        while session.due():
            said += session.take(hear(session))
            if restart:
                session = Session.restored(session.state())
    return said, wrong


def final(messages: Sequence[Message]) -> list[str]:
    return " ".join(message.text for message in messages if message.kind == "final").split()


pauses = st.lists(st.sampled_from([0, 0, 0, 0, 1, 3, 8, 15]), min_size=1, max_size=60)
lengths = st.lists(st.sampled_from([20, 100, 250, 700, 1500]), min_size=1, max_size=3)


@given(pauses, lengths | st.just([4000]))
def test_every_word_is_final_once_and_in_order(pauses: list[int], lengths: list[int]) -> None:
    samples = speech(pauses)
    said, wrong = follow(chunked(samples, lengths), hearer(samples))
    assert final(said) == [word.strip() for _, _, word in truth(samples)]
    assert wrong == []
    assert [message.revision for message in said] == list(range(1, len(said) + 1))
    starts = [message.start_s for message in said if message.kind == "final"]
    assert starts == sorted(starts)


@given(pauses, lengths)
def test_a_restart_after_every_step_changes_nothing(pauses: list[int], lengths: list[int]) -> None:
    samples = speech(pauses)
    chunks = chunked(samples, lengths)
    assert follow(chunks, hearer(samples), restart=True) == follow(chunks, hearer(samples))


@given(pauses, lengths, lengths)
def test_how_the_audio_is_cut_into_chunks_changes_no_word(pauses: list[int], one: list[int], other: list[int]) -> None:
    samples = speech(pauses)
    texts = [[(m.kind, m.text) for m in follow(chunked(samples, cut), hearer(samples))[0]] for cut in (one, other)]
    assert texts[0] == texts[1]


@given(pauses, st.randoms(use_true_random=False))
def test_chunks_that_are_doubled_or_out_of_order_are_put_right_and_told(pauses: list[int], random: Any) -> None:
    samples = speech(pauses)
    chunks = chunked(samples, [250])
    shuffled = [
        chunk for start in range(0, len(chunks), 4) for chunk in random.sample(chunks[start : start + 4], len(chunks[start : start + 4]))
    ]
    doubled = [chunk for chunk in shuffled for _ in range(random.randint(1, 2))]
    said, wrong = follow(doubled, hearer(samples))
    assert final(said) == final(follow(chunks, hearer(samples))[0])
    assert wrong == ["chunk_refused"] * (len(doubled) - len(chunks))


def test_a_chunk_that_never_comes_is_silence_and_is_told_once() -> None:
    samples = speech([0, 8, 0, 15, 0, 8, 0, 0, 15] * 3)
    chunks = chunked(samples, [250])
    lost = 9
    said, wrong = follow([chunk for chunk in chunks if chunk.seq != lost], hearer(samples))
    assert wrong == ["chunk_missing"]
    assert final(said) == final(follow(chunks, hearer(samples))[0])  # the hearer knows what was said: the times are the same
    late = follow([*(chunk for chunk in chunks if chunk.seq != lost), chunks[lost]], hearer(samples))
    assert late == (said, ["chunk_missing", "chunk_refused"])


def test_a_session_that_nobody_ends_is_closed_and_nothing_of_it_is_lost() -> None:
    samples = speech([0, 0, 0, 8, 0, 0])
    chunks = chunked(samples, [200])
    hear, session, said = hearer(samples), Session(), []
    for chunk in [*chunks[:8], *chunks[9:]]:
        assert session.feed(chunk._replace(end=False)) == []
        while session.due():
            said += session.take(hear(session))
    session = Session.restored(session.state())
    assert [error.code for error in session.close()] == ["chunk_missing"]
    while session.due():
        said += session.take(hear(session))
    assert final(said) == [word.strip() for _, _, word in truth(samples)]
    assert not session.due()


def test_what_comes_after_the_end_is_refused() -> None:
    samples = speech([8, 0])
    first, *rest = chunked(samples, [1000])
    ended = Chunk(0, first.samples, True)
    said, wrong = follow([ended, *rest], hearer(samples))
    assert wrong == ["chunk_refused"] * len(rest)
    assert final(said) == ["w0"]


def test_the_first_words_are_partial_within_two_seconds_and_final_at_the_pause() -> None:
    samples = speech([0] * 8 + [20] + [0])
    messages = [(m.seq / 10, m) for m in follow(chunked(samples, [100]), hearer(samples))[0]]
    at_s, first = messages[0]
    assert first.kind == "partial" and at_s < 0.5 + 2.0
    at_s, _ = next((at_s, m) for at_s, m in messages if m.kind == "final")
    assert at_s < 0.5 + 8 * WORD_S + 1.2


def test_who_has_fallen_behind_hears_what_is_whole_and_so_catches_up() -> None:
    samples = speech([0] * 25 + [15] + [0] * 25)
    hear = hearer(samples)

    def heard(length: int, together: bool) -> tuple[list[str], int]:
        session, said, hearings = Session(), [], 0
        for chunk in chunked(samples, [length]):
            session.feed(chunk)
            while (session.full or chunk.end or not together) and session.due():
                said += session.take(hear(session))
                hearings += 1
        return final(said), hearings

    (behind, few), (in_step, many) = heard(4000, together=True), heard(200, together=False)
    assert behind == in_step == [word.strip() for _, _, word in truth(samples)]
    assert few * 2 < many


def test_memory_is_bounded_whatever_is_said_or_not_said() -> None:
    for samples in (speech([0] * 400), speech([3] * 200), np.zeros(120 * RATE_HZ, np.int16)):
        session, hear, most = Session(), hearer(samples), 0
        for chunk in chunked(samples, [200]):
            session.feed(chunk)
            while session.due():
                session.take(hear(session))
            most = max(most, len(session.state()))
        assert most < 700_000


@given(pauses, st.randoms(use_true_random=False))
def test_words_whose_times_waver_from_hearing_to_hearing_are_neither_doubled_nor_lost(pauses: list[int], random: Any) -> None:
    samples = speech(pauses)
    hear = hearer(samples)

    def waver(session: Session) -> dict[str, Any]:
        heard = hear(session)
        for segment in heard["segments"]:
            segment["words"] = [[max(0.0, a + (by := random.uniform(-0.2, 0.2))), max(0.01, b + by), *w] for a, b, *w in segment["words"]]
        return heard

    assert final(follow(chunked(samples, [200]), waver)[0]) == [word.strip() for _, _, word in truth(samples)]


def test_final_words_that_are_heard_otherwise_later_are_not_said_again() -> None:
    samples = speech([0] * 20)
    hear, hearings = hearer(samples), 0

    def change(session: Session) -> dict[str, Any]:
        nonlocal hearings
        hearings += 1
        heard = hear(session)
        words = heard["segments"][0]["words"]
        if hearings > 3:
            words[0][2] = " changed"
        return heard

    assert final(follow(chunked(samples, [200]), change)[0]) == [word.strip() for _, _, word in truth(samples)]


def test_a_chunk_far_ahead_moves_the_clock_and_fills_no_memory() -> None:
    samples = speech([0, 0, 8])
    chunks = chunked(samples, [250])
    ahead = 1_000_000
    session, said, hear = Session(), [], hearer(samples)
    for chunk in chunks:
        session.feed(chunk._replace(end=False))
        while session.due():
            said += session.take(hear(session))
    later = [Chunk(ahead + index, chunk.samples, chunk.end) for index, chunk in enumerate(chunks)]
    told = [error.code for chunk in later for error in session.feed(chunk)] + [error.code for error in session.close()]
    assert told == ["chunk_missing"]
    assert len(session.state()) < 500_000
    began_s = ahead * 0.25
    again = hearer(samples)

    def moved(session: Session) -> dict[str, Any]:
        shift_s = session.at / RATE_HZ - began_s
        copy = Session(buffer=session.buffer, looked=session.looked, at=round(shift_s * RATE_HZ))
        return again(copy)

    while session.due():
        said += session.take(moved(session))
    assert final(said) == ["w0", "w1", "w2"] * 2
    starts = [message.start_s for message in said if message.kind == "final"]
    assert starts[0] < 2 and began_s + 0.4 < starts[-1] < began_s + 2


def test_a_chunk_that_cannot_be_decoded_is_silence_as_long_as_the_one_before() -> None:
    samples = speech([0, 0, 15, 0, 0, 8])
    chunks = chunked(samples, [250])
    quiet = 8  # in the pause
    chunks[quiet] = chunks[quiet]._replace(samples=None)
    said, wrong = follow(chunks, hearer(samples), restart=True)
    assert wrong == []
    assert final(said) == [word.strip() for _, _, word in truth(samples)]


@given(pauses, st.randoms(use_true_random=False))
def test_a_hearing_that_is_left_out_costs_its_own_words_and_no_others(pauses: list[int], random: Any) -> None:
    samples = speech([*pauses, 15])
    hear, session = hearer(samples), Session()
    said: list[Message] = []
    lost: list[tuple[float, float]] = []
    for chunk in chunked(samples, [250]):
        session.feed(chunk)
        while session.due():
            if random.random() < 0.2:
                lost.append((session.at / RATE_HZ, (session.at + session.looked) / RATE_HZ))
                said += session.skip()
            else:
                said += session.take(hear(session))
    words = truth(samples)
    kept = [word.strip() for start, end, word in words if not any(start < to and end > since for since, to in lost)]
    found = [word for word in final(said) if word[1:].isdigit()]  # others were cut in the midst
    assert sorted(set(found), key=lambda word: int(word[1:])) == found, "none is there twice"
    assert set(kept) <= set(found)
    assert [message.revision for message in said] == list(range(1, len(said) + 1))


def test_whatever_comes_the_state_fits_a_message_of_a_megabyte() -> None:
    loudest = np.full(5 * RATE_HZ, 9000, np.int16)
    noise = {"segments": [{"words": [[i * 0.2, i * 0.2 + 0.1, f" noise{i}"] for i in range(60)]}]}
    silent: dict[str, Any] = {"segments": []}
    for heard in (noise, silent):
        for step in (1, 2, 1000):
            session, most = Session(), 0
            for index in range(40):
                while session.full:
                    session.take(heard)
                session.feed(Chunk(index * step, loudest))
                most = max(most, len(session.state()))
            assert most < 1_000_000, step
    session = Session()
    for index in range(600):
        session.feed(Chunk(index * 1000 + 1, loudest[:320]))
    assert len(session.state()) < 1_000_000


@pytest.mark.slow
def test_real_speech_is_written_down_as_it_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    settings = Settings()
    for model in ("piper-en_US-joe-medium", "whisper-tiny.en"):
        pull(model, settings)
    speaking, hearing = engine_class("synthesize", "piper"), engine_class("transcribe", "faster-whisper")
    speaker, listener = speaking(), hearing()
    speaker.load(Place("cpu", 1, settings.models_dir))
    listener.load(Place("cpu", 2, settings.models_dir))
    text = "The harbour was quiet that morning. Two boats came in slowly, and an old man waved at them from the pier."
    (spoken,) = speaker.run([Piece({"text": text}, speaking.Options(), 0)])
    assert isinstance(spoken, Result)
    import soxr

    audio = spoken.outputs["audio"]
    samples = (soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ) * 32767).astype(np.int16)
    options = hearing.Options.parse({"model": "tiny.en", "beam_size": 1, "timestamps": True})

    def hear(session: Session) -> dict[str, Any]:
        (heard,) = listener.run([Piece({"audio": session.to_hear()}, options, 0)])
        assert isinstance(heard, Result)
        return dict(heard.fields)

    said, wrong = follow(chunked(np.concatenate([samples, np.zeros(RATE_HZ, np.int16)]), [200]), hear, restart=True)
    assert wrong == []
    heard = "".join(c for c in " ".join(final(said)).lower() if c.isalpha() or c == " ").split()
    wanted = "".join(c for c in text.lower() if c.isalpha() or c == " ").split()
    assert len(set(heard) ^ set(wanted)) <= 3
    assert len([m for m in said if m.kind == "partial"]) >= 2
