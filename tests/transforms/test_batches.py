"""Pieces of many items in one engine call: what sharing batches may not change, and what a batch's failure means."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms import steps
from transforms.engines.echo import EchoSpeech, EchoTranscript
from transforms.errors import CODES, WavemillError, kind
from transforms.operations import operation
from transforms.records import Audio, Failure, Input, Item, Outcome, Piece, Result, Work
from transforms.steps import Flow, Stopped

OPTIONS = EchoSpeech.Options(fail_on="fails", raise_on="raises")


class Mirror(EchoSpeech):
    """Also tells what it was given, so that a result shows whose it is, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        self.batches.append(texts_of(pieces))
        made = super().run(pieces)
        return [Result({"said": text}) if isinstance(one, Result) else one for text, one in zip(texts_of(pieces), made, strict=True)]


class Raising(Mirror):
    """Raises its error over any batch with a bad piece in it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        made = super().run(pieces)
        if "bad" in texts_of(pieces):
            raise self.error
        return made


def texts_of(pieces: Sequence[Piece]) -> list[str]:
    return [str(piece.inputs["text"]) for piece in pieces]


def work(*texts: str, options: Any = OPTIONS) -> Work:
    item = Item("k", "i", "synthesize", "echo", options, {})
    return Work(item, [Piece({"text": text}, options, n) for n, text in enumerate(texts)])


def told(flow: Flow) -> list[Any]:
    """What was said of each item, or the code of its failure."""
    return [[one.fields["said"] for one in w.payload.results] if isinstance(w, Work) else w.code for w in flow]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "fails", "raises"]), min_size=1, max_size=4), max_size=6), st.integers(1, 7))
def test_an_item_gets_the_same_in_company_as_alone(texts: list[list[str]], most: int) -> None:
    class Small(Mirror):
        max_batch = most

    flow: Flow = [work(*some) for some in texts]
    together = told(steps.infer(flow, Small()))
    assert together == [told(steps.infer([one], Mirror()))[0] for one in flow]
    assert together == [some if not {"fails", "raises"} & set(some) else "engine_error" for some in texts]


def test_a_failing_batch_is_halved_down_to_the_bad_piece() -> None:
    engine = Raising(RuntimeError("cannot say that"))
    found = steps.infer([work(*"abcdefgh"), work("i", "j"), work("bad"), work(*"klmno")], engine)
    assert told(found) == [list("abcdefgh"), ["i", "j"], "engine_error", list("klmno")]
    assert found[2] == Failure("engine_error", "echo: RuntimeError: cannot say that")
    assert [len(batch) for batch in engine.batches] == [16, 8, 8, 4, 2, 2, 1, 1, 4]


def test_memory_that_ran_out_on_one_piece_is_tried_again_by_the_next_run() -> None:
    found = steps.infer([work("fine"), work("bad"), work("fine")], Raising(MemoryError("no more")))
    assert told(found) == [["fine"], "out_of_memory", ["fine"]] and kind("out_of_memory") == "transient"


class Heavy(Mirror):
    """Has memory for `holds` characters of padded text, and raises its error over more."""

    max_batch = 8

    def __init__(self, holds: int, error: Exception) -> None:
        super().__init__()
        self.holds, self.error = holds, error

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        made = super().run(pieces)
        if len(pieces) * max(map(len, texts_of(pieces))) > self.holds:
            raise self.error
        return made


TORCH = pytest.param("torch", marks=pytest.mark.extra("torch"))


def short_of_memory(named: str) -> Exception:
    """What Python, torch for a device, and a library without a type of its own raise."""
    if named == "torch":
        import torch

        return cast(Exception, torch.OutOfMemoryError("injected"))
    return MemoryError("injected") if named == "python" else RuntimeError("CUDA failed with error out of memory")


@pytest.mark.parametrize("named", ["python", TORCH, "other"])
@pytest.mark.parametrize("threads", [0, 2])
def test_a_batch_that_only_fits_by_halves_loses_nothing_and_the_size_is_kept_to_from_then_on(named: str, threads: int) -> None:
    engine = Heavy(3, short_of_memory(named))
    with ThreadPoolExecutor(threads or 1) as pool:
        found = steps.infer([work(*"abcd"), work(*"efgh")], engine, pool if threads else None)
        assert told(found) == [list("abcd"), list("efgh")]
        assert [len(batch) for batch in engine.batches] == [8, 4, 2, 2, 2, 2] and engine.fits == 2
        engine.batches.clear()
        found = steps.infer([work(*"abcdef"), work("gh", "i")], engine, pool if threads else None)
    assert told(found) == [list("abcdef"), ["gh", "i"]]
    assert sorted(map(len, engine.batches)) == [1, 1, 2, 2, 2], "and a longer piece counts for more"


@pytest.mark.parametrize(
    ("named", "code"),
    [("python", "out_of_memory"), pytest.param("torch", "out_of_memory", marks=pytest.mark.extra("torch")), ("other", "engine_error")],
)
def test_a_piece_that_does_not_fit_alone_fails_by_itself_and_makes_no_later_batch_smaller(named: str, code: str) -> None:
    engine = Heavy(100, short_of_memory(named))
    found = steps.infer([work(*"abc"), work("d" * 101), work(*"efgh")], engine)
    assert told(found) == [list("abc"), code, list("efgh")]
    assert engine.fits == math.inf


def test_an_endpoint_that_failed_once_makes_no_later_batch_smaller() -> None:
    engine = Heavy(3, WavemillError("endpoint_unavailable", "no answer"))
    assert told(steps.infer([work(*"abcd")], engine)) == [list("abcd")]
    assert engine.fits == math.inf


def test_each_engine_learns_for_itself_alone() -> None:
    steps.infer([work(*"abcd")], Heavy(2, MemoryError()))
    assert Heavy.fits == math.inf


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("threads", [0, 2])
def test_an_engine_that_blames_the_piece_fails_it_and_one_that_is_broken_raises(code: str, threads: int) -> None:
    engine = Raising(WavemillError(code, "why", "text"))
    flow: Flow = [work("fine"), work("bad"), work("fine")]
    with ThreadPoolExecutor(threads or 1) as pool:
        if kind(code) in ("item", "transient"):
            found = steps.infer(flow, engine, pool if threads else None)
            assert told(found) == [["fine"], code, ["fine"]] and found[1] == Failure(code, "why", "text")
        else:
            with pytest.raises(WavemillError) as caught:
                steps.infer(flow, engine, pool if threads else None)
            assert caught.value.code == code


@pytest.mark.parametrize("answer", ["too few", "too many", "none"])
def test_an_engine_that_loses_count_loses_and_shifts_nothing(answer: str) -> None:
    class Careless(Mirror):
        def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
            made = super().run(pieces)
            wrong: dict[str, Any] = {"too few": made[1:], "too many": [*made, made[0]], "none": None}
            return wrong[answer] if "odd" in texts_of(pieces) else made

    found = steps.infer([work("one"), work("two", "odd"), work("three", "four"), work("odd"), work("five")], Careless())
    assert told(found) == [["one"], "engine_error", ["three", "four"], "engine_error", ["five"]]


class Listener(EchoTranscript):
    """Remembers the batches it heard."""

    def __init__(self) -> None:
        self.batches: list[list[Piece]] = []

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        self.batches.append(list(pieces))
        return super().run(pieces)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 30)), max_size=25), st.integers(1, 6), st.sampled_from([0.0, 1.0, 2.5]))
def test_batches_hold_pieces_of_many_items_but_never_two_sets_of_options(wanted: list[tuple[int, int]], most: int, most_s: float) -> None:
    class Limited(Listener):
        max_batch, max_batch_s = most, most_s

    def fits(batch: list[Piece]) -> bool:
        """Whether the batch is within every limit; a single piece always is."""
        short = not most_s or sum(map(steps.audio_s, batch)) <= most_s
        return len(batch) == 1 or (len(batch) <= most and short and len({piece.options.seed for piece in batch}) == 1)

    options = [EchoTranscript.Options(seed=seed) for seed in (0, 1)]
    flow: Flow = []
    for seed, eighths in wanted:
        item = Item("k", "i", "transcribe", "echo", options[seed], {})
        # the second of two equal options is another object, as rows of another unit have it
        piece = Piece({"audio": Audio(np.zeros((1, 2000 * eighths), np.float32), 16000)}, options[seed].model_copy(), 0)
        flow.append(Work(item, [piece]))
    engine, reported = Limited(), list[Piece]()
    steps.infer(flow, engine, on_pieces=lambda batch, _: reported.extend(batch))
    given = [id(piece) for one in flow if isinstance(one, Work) for piece in one.payload]
    assert [id(piece) for batch in engine.batches for piece in batch] == given == [id(piece) for piece in reported]
    assert all(map(fits, engine.batches))
    assert not any(fits([*one, after[0]]) for one, after in zip(engine.batches, engine.batches[1:], strict=False)), (
        "each is as large as may be"
    )


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), max_size=20), st.integers(2, 5))
def test_where_a_batch_is_filled_up_the_longest_pieces_go_first_and_each_item_gets_its_own(
    wanted: list[tuple[int, int]], most: int
) -> None:
    class Padded(Mirror):
        padded, max_batch = "text", most

    options = [EchoSpeech.Options(seed=seed) for seed in (0, 1)]
    flow: Flow = [work("a" * length, "b", options=options[seed]) for seed, length in wanted]
    engine = Padded()
    assert told(steps.infer(flow, engine)) == [["a" * length, "b"] for _, length in wanted]
    lengths = [[len(text) for text in batch] for batch in engine.batches]
    runs = [list(run) for _, run in itertools.groupby(wanted, lambda one: one[0])]
    expected = [sorted([*(length for _, length in run), *[1] * len(run)], reverse=True) for run in runs]
    assert lengths == [list(some) for run in expected for some in batched(run, most)]


def batched(items: list[int], most: int) -> list[list[int]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


class Guesser(Mirror):
    """Says what it was told of language and mood, and guesses both."""

    carry = ("language", "mood")

    class Options(EchoSpeech.Options):
        mood: str | None = None

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        guess = {"language": "xx", "mood": "calm"}
        said = [Result({"said": (piece.options.language, piece.options.mood), **guess}) for piece in pieces]
        return [new if isinstance(one, Result) else one for one, new in zip(super().run(pieces), said, strict=True)]


@pytest.mark.parametrize(
    ("given", "first", "others", "calls"),
    [
        ({}, (None, None), ("xx", "calm"), 2),
        ({"language": "fr"}, ("fr", None), ("fr", "calm"), 2),
        ({"language": "fr", "mood": "glad"}, ("fr", "glad"), ("fr", "glad"), 1),
    ],
)
def test_the_first_piece_fixes_for_the_others_what_the_user_left_open(given: dict[str, str], first: Any, others: Any, calls: int) -> None:
    engine, options = Guesser(), Guesser.Options.parse(given)
    found = steps.infer([work(*"abc"[:n], options=options) for n in (3, 1, 2)], engine)
    assert told(found) == [[first, others, others], [first], [first, others]]
    assert len(engine.batches) == calls, "and the others share a batch again"


def test_an_item_whose_first_piece_fails_is_that_failure_and_its_others_are_not_tried() -> None:
    engine, options = Guesser(), Guesser.Options(fail_on="fails")
    bad, good = steps.infer([work("fails", "x", "y", options=options), work("a", "b", options=options)], engine)
    assert isinstance(bad, Failure) and isinstance(good, Work) and len(good.payload.results) == 2
    assert engine.batches == [["fails", "a"], ["b"]]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_stop_ends_the_work_within_the_piece_at_hand(threads: int) -> None:
    stop = threading.Event()

    class Slow(Mirror):
        max_batch = 1

        def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
            made = super().run(pieces)
            stop.set()
            return made

    engine = Slow()
    with ThreadPoolExecutor(threads or 1) as pool, pytest.raises(Stopped):
        steps.infer([work(str(n)) for n in range(50)], engine, pool if threads else None, stop)
    assert 1 <= len(engine.batches) <= max(1, threads)


def test_a_failing_batch_is_not_split_further_after_a_stop() -> None:
    stop = threading.Event()

    class Failing(Raising):
        def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
            stop.set()
            return super().run(pieces)

    engine = Failing(RuntimeError("bad"))
    with pytest.raises(Stopped):
        steps.infer([work("fine"), work("bad")], engine, stop=stop)
    assert len(engine.batches) == 1


def test_threads_that_finish_out_of_order_change_no_order() -> None:
    class Uneven(Mirror):
        max_batch = 1

        def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
            time.sleep(0.03 - int(texts_of(pieces)[0]) / 1000)
            return super().run(pieces)

    spent_s: list[float] = []
    with ThreadPoolExecutor(8) as pool:
        flow: Flow = [work(str(n), str(n + 1)) for n in range(0, 24, 2)]
        found = steps.infer(flow, Uneven(), pool, on_pieces=lambda _, seconds: spent_s.append(seconds))
    assert told(found) == [[str(n), str(n + 1)] for n in range(0, 24, 2)]
    assert sum(one.payload.seconds for one in found if isinstance(one, Work)) == pytest.approx(sum(spent_s))


class Long(EchoSpeech):
    """Half a megabyte of sound for each text, and hardly any for `-`."""

    gated = False

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        frames = [10 if text == "-" else 1 << 17 for text in texts_of(pieces)]
        return [
            Result(outputs={"audio": Audio(np.full((1, many), 0.1 + piece.seed / 1000, np.float32), 24000)})
            for piece, many in zip(pieces, frames, strict=True)
        ]


@pytest.mark.parametrize("threads", [0, 2])
def test_what_many_small_pieces_say_waits_on_disk_once_much_is_in_memory_and_is_joined_to_the_same(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"text": Input("text", "said")}
    flow = [replace(one, item=replace(one.item, inputs=given)) for one in (work(*["said"] * 30, "-"), work(*["said"] * 10))]

    def joined(held_bytes: int) -> tuple[list[np.ndarray], list[Any]]:
        monkeypatch.setattr(steps, "HELD_BYTES", held_bytes)
        with ThreadPoolExecutor(threads or 1) as pool:
            done = steps.infer(list(flow), Long(), pool if threads else None)
        sounds = [result.outputs["audio"].samples for one in done if isinstance(one, Work) for result in one.payload.results]
        whole = [one.payload.outputs["audio"].samples for one in steps.join(done, operation("synthesize"), Long()) if isinstance(one, Work)]
        return sounds, whole

    kept, whole = joined(1 << 30)
    assert not any(isinstance(samples, np.memmap) for samples in kept)
    few, same = joined(4 << 20)
    waiting = [samples.nbytes for samples in few if not isinstance(samples, np.memmap)]
    assert sum(waiting) <= (4 << 20) + (threads + 1) * (1 << 19) < sum(samples.nbytes for samples in few)
    assert min(waiting) == 40, "what is hardly anything is no file"
    assert len(whole) == 2
    for one, other in zip(whole, same, strict=True):
        np.testing.assert_array_equal(one, other)
