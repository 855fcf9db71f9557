"""The law every step is held to: a list in gives a list of the same length in the same order, and a failure passes."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sinks import blobs
from transforms import codec, steps, storage
from transforms.engines.echo import EchoSpeech, EchoTranscript
from transforms.errors import CODES, WavemillError, kind
from transforms.operations import operation
from transforms.options import AudioOptions
from transforms.records import Audio, Encoded, Failure, Input, Item, Piece, Result, Work
from transforms.settings import Settings
from transforms.steps import Flow, Inferred
from transforms.store import Store

SETTINGS = Settings(max_chars=100)
SPEAK, HEAR = operation("synthesize"), operation("transcribe")
OPTIONS = EchoSpeech.Options(format="wav", normalize=False, fail_on="fails", raise_on="raises")


def item(n: int, text: str = "", kind: Any = "text", options: Any = OPTIONS) -> Item:
    return Item(f"{n:064x}", f"i{n}", "synthesize", "echo", options, {"text": Input(kind, text or f"number {n}")})


def pieces(*texts: str) -> list[Piece]:
    return [Piece({"text": text}, OPTIONS, n) for n, text in enumerate(texts)]


def tone(n: int, rate_hz: int = 24000, level: float = 0.1) -> Audio:
    return Audio(np.full((1, 240 * (n + 1)), level, np.float32), rate_hz)


def said(n: int, audio: Any) -> Result:
    return Result({"said": f"number {n}"}, {"audio": audio})


class Case(NamedTuple):
    """A step, works of item `n` that it can and cannot do, with what code, and whether a payload is that of item `n`."""

    act: Callable[[Flow, Store], Flow]
    good: Callable[[int], Work]
    bad: Callable[[int], Work] | None
    code: str
    right: Callable[[Any, int], bool]


CASES = {
    "check": Case(
        lambda flow, _: steps.check(flow, SPEAK, EchoSpeech(), SETTINGS),
        lambda n: Work(item(n), None),
        lambda n: Work(item(n, "x" * 101), None),
        "text_too_long",
        lambda payload, n: payload is None,
    ),
    "fetch": Case(
        lambda flow, _: steps.fetch(flow, SPEAK, EchoSpeech(), SETTINGS),
        lambda n: Work(item(n), None),
        lambda n: Work(item(n, "/nowhere/at/all.txt", "uri"), None),
        "input_not_found",
        lambda payload, n: payload == {"text": f"number {n}"},
    ),
    "split": Case(
        lambda flow, _: steps.split(flow, SPEAK, EchoSpeech()),
        lambda n: Work(item(n), {"text": f"number {n}"}),
        lambda n: Work(item(n), {"text": " ... "}),
        "empty_text",
        lambda payload, n: [piece.inputs["text"] for piece in payload] == [f"number {n}"],
    ),
    "infer": Case(
        lambda flow, _: steps.infer(flow, EchoSpeech()),
        lambda n: Work(item(n), pieces(*"abc"[: n % 3 + 1])),
        lambda n: Work(item(n), pieces("fine", "raises" if n % 2 else "fails", "fine")),
        "engine_error",
        lambda payload, n: len(payload.results) == len(payload.pieces) == n % 3 + 1,
    ),
    "join": Case(
        lambda flow, _: steps.join(flow, SPEAK, EchoSpeech()),
        lambda n: Work(item(n), Inferred(pieces("x"), [said(n, tone(n))], 0.1)),
        lambda n: Work(item(n), Inferred(pieces("x", "y"), [said(n, tone(n)), said(n, tone(n, 8000))], 0.1)),
        "engine_error",
        lambda payload, n: payload.fields["said"] == f"number {n}" and payload.outputs["audio"].frames == 240 * (n + 1),
    ),
    "encode": Case(
        lambda flow, _: steps.encode(flow),
        lambda n: Work(item(n), said(n, tone(n))),
        lambda n: Work(item(n), said(n, tone(n, level=np.nan))),
        "engine_error",
        lambda payload, n: payload.fields["said"] == f"number {n}" and payload.outputs["audio"].duration_s == (n + 1) / 100,
    ),
    "store": Case(
        blobs.store,
        lambda n: Work(item(n), said(n, Encoded(bytes(n), "wav", f"{n:064}", 0.5))),
        None,
        "",
        lambda payload, n: payload.outputs["audio"].bytes == n and f"{n:064x}" in payload.outputs["audio"].uri,
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("steps")))


@pytest.mark.parametrize("name", CASES)
@given(kinds=st.lists(st.sampled_from(["good", "bad", "failed"]), max_size=10))
@settings(max_examples=60)
def test_the_law_holds_for_every_step(place: Store, name: str, kinds: list[str]) -> None:
    case = CASES[name]
    flow: Flow = []
    for n, what in enumerate(kinds):
        flow.append(Failure("bad_row", f"row {n}") if what == "failed" else (case.bad if what == "bad" and case.bad else case.good)(n))
    before = list(flow)
    after = case.act(flow, place)
    assert flow == before and len(after) == len(before)
    for n, (what, work, found) in enumerate(zip(kinds, before, after, strict=True)):
        if what == "failed":
            assert found is work
        elif what == "bad" and case.bad:
            assert isinstance(found, Failure) and found.code == case.code
        else:
            assert isinstance(found, Work) and isinstance(work, Work) and found.item is work.item and case.right(found.payload, n)


class Refusing(EchoSpeech):
    """Raises its error for a bad item; stands in for an operation's module as well."""

    inputs = SPEAK.inputs

    def __init__(self, code: str) -> None:
        self.code = code

    def check(self, item: Item) -> None:
        if item.id == "i1":
            raise WavemillError(self.code, "why", "text")

    @property
    def module(self) -> Any:
        return self

    def split(self, item: Item, *_: Any) -> None:
        self.check(item)

    join = split


@pytest.mark.parametrize("code", CODES)
def test_only_what_blames_the_item_becomes_a_failure_and_the_rest_raises(code: str) -> None:
    works: Flow = [Work(item(n), Inferred([], [], 0.0)) for n in range(3)]
    refusing: Any = Refusing(code)
    with ThreadPoolExecutor(2) as pool:
        acts: list[Callable[[], Flow]] = [
            lambda: steps.check(works, SPEAK, refusing, SETTINGS),
            lambda: steps.split(works, refusing, refusing),
            lambda: steps.join(works, refusing, refusing),
            lambda: steps.each(works, lambda work: refusing.check(work.item), pool),
        ]
        for act in acts:
            if kind(code) in ("item", "transient"):
                first, second, third = act()
                assert isinstance(first, Work) and second == Failure(code, "why", "text") and isinstance(third, Work)
            else:
                with pytest.raises(WavemillError) as caught:
                    act()
                assert caught.value.code == code


def test_a_place_that_cannot_be_written_raises() -> None:
    with pytest.raises(WavemillError) as caught:
        blobs.store([CASES["store"].good(1)], Store("/proc/wavemill/out", patience_s=0))
    assert caught.value.kind == "system"


def wav(seconds: float) -> bytes:
    return codec.encode(Audio(np.zeros((1, round(seconds * 16000)), np.float32), 16000), AudioOptions(format="wav")).data


def test_audio_is_fetched_in_order_by_many_threads_and_a_bad_one_fails_alone(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n:02}.wav" for n in range(12)]
    for n, path in enumerate(paths):
        path.write_bytes(wav((n + 1) / 10))
    options = EchoTranscript.Options()
    given = [Input("uri", entry.url, entry.version) for entry in storage.list_folder(str(tmp_path))]
    paths[3].unlink()
    paths[5].write_bytes(wav(0.65))
    paths[7].write_bytes(b"")
    given[7] = Input("uri", str(paths[7]), "")
    works: Flow = [Work(Item("k", "i", "transcribe", "echo", options, {"audio": one}), None) for one in given]
    limited = Settings(max_input_bytes=paths[9].stat().st_size)
    with ThreadPoolExecutor(8) as pool:
        found = steps.fetch(works, HEAR, EchoTranscript(), limited, pool)
    told = [(work.payload["audio"].frames if isinstance(work, Work) else work.code) for work in found]
    expected: list[Any] = [1600 * (n + 1) for n in range(10)] + ["audio_too_large"] * 2
    expected[3], expected[5], expected[7] = "input_not_found", "input_changed", "audio_empty"
    assert told == expected and kind("input_changed") == "transient"
    failures = [(one.field, str(paths[n]) in one.detail) for n, one in enumerate(found) if isinstance(one, Failure)]
    assert failures == [("audio", True)] * 5


def test_measured_loudness_joins_the_fields_and_what_is_encoded_already_is_left_alone() -> None:
    (spoken,) = EchoSpeech().run([Piece({"text": "x"}, OPTIONS.model_copy(update={"piece_s": 1.0}), 0)])
    assert isinstance(spoken, Result)
    loud = Work(item(0, options=OPTIONS.model_copy(update={"loudness": -23.0})), said(0, spoken.outputs["audio"]))
    done = Work(item(1), Result({}, {"transcript": Encoded(b"{}", "json", hashlib.sha256(b"{}").hexdigest())}))
    first, second = steps.encode([loud, done])
    assert isinstance(first, Work) and isinstance(second, Work) and second.payload is done.payload
    assert first.payload.fields["said"] == "number 0" and first.payload.fields["lufs"] == pytest.approx(-23, abs=0.1)


def test_a_full_temporary_disk_stops_the_run_and_blames_no_item(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(EchoSpeech):
        def run(self, pieces: Sequence[Piece]) -> list[Result | Failure]:
            raise OSError(errno.ENOSPC, "No space left on device")

    works: Flow = [Work(item(0), pieces("a"))]
    with pytest.raises(WavemillError, match="TMPDIR") as caught:
        steps.infer(works, Full())
    assert caught.value.code == "storage_full"


def test_a_text_file_over_the_limit_is_refused_and_not_cut(tmp_path: Path) -> None:
    (tmp_path / "fits").write_text("é" * 100)
    (tmp_path / "long").write_text("é" * 101)
    works: Flow = [Work(item(0, str(tmp_path / name), "uri"), None) for name in ("fits", "long")]
    fits, long = steps.fetch(works, SPEAK, EchoSpeech(), SETTINGS)
    assert isinstance(fits, Work) and fits.payload["text"] == "é" * 100
    assert isinstance(long, Failure) and (long.code, long.field) == ("text_too_long", "text")
