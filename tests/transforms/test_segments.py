"""Words become segments: none lost, times that never go back, ends where a sentence ends."""

from __future__ import annotations

from hypothesis import given, strategies as st

from transforms.segments import LONGEST_CHARS, LONGEST_S, Word, glue_of, join_texts, make_segments, settle

WORDS = st.lists(
    st.builds(
        Word,
        start=st.floats(-1, 100),
        end=st.floats(-1, 100),
        word=st.text("ab.,!?é。 ", min_size=1, max_size=8).map(" {}".format),
        probability=st.floats(0, 1),
    )
)


def spoken(text: str, step_s: float = 0.4) -> list[Word]:
    return [Word(n * step_s, (n + 1) * step_s, f" {word}", 0.9) for n, word in enumerate(text.split())]


def texts(words: list[Word]) -> list[str]:
    return [segment["text"] for segment in make_segments(words)]


@given(WORDS, st.floats(0, 90))
def test_settled_times_never_go_back_and_stay_within_the_audio(words: list[Word], duration_s: float) -> None:
    settled = settle(words, duration_s)
    times = [time for word in settled for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= time <= duration_s for time in times)
    assert [word.word for word in settled] == [word.word for word in words]
    assert settle(settled, duration_s) == settled


@given(WORDS)
def test_every_word_is_in_one_segment_in_order(words: list[Word]) -> None:
    words = settle(words, 100)
    segments = make_segments(words)
    assert [word for segment in segments for word in segment["words"]] == words
    for segment in segments:
        assert (segment["start"], segment["end"]) == (segment["words"][0].start, segment["words"][-1].end)
        assert segment["text"] == " ".join("".join(word.word for word in segment["words"]).split())


def test_a_segment_ends_with_its_sentence_but_not_at_an_abbreviation() -> None:
    words = spoken("I met Dr. Brown of the U.S. army. He said 3.5 was enough! Was it? “Yes.” it was.")
    assert texts(words) == ["I met Dr. Brown of the U.S. army.", "He said 3.5 was enough!", "Was it?", "“Yes.” it was."]


def test_a_pause_ends_a_segment() -> None:
    before, after = spoken("well then"), [word._replace(start=word.start + 3, end=word.end + 3) for word in spoken("here we are")]
    assert texts(before + after) == ["well then", "here we are"]


def test_what_has_no_full_stop_is_cut_after_a_clause() -> None:
    clause = "and so it went on and on, "
    segments = make_segments(spoken(clause * 30))
    assert all(s["text"].endswith(",") for s in segments)
    assert all(s["end"] - s["start"] <= LONGEST_S and len(s["text"]) <= LONGEST_CHARS for s in segments)


def test_japanese_is_put_together_without_spaces() -> None:
    assert join_texts(["今日は。", "晴れ。"], glue_of("ja")) == "今日は。晴れ。"
    assert join_texts(["Hello. ", " Good day."], glue_of("en")) == "Hello. Good day."
