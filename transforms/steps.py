"""The steps every item goes through, each from a list to a list of the same length in the same order.

A `Failure` passes through untouched; bad data becomes a `Failure`; only a broken system raises. Batch runs, Kafka loops
and requests call the same steps: check, fetch, split, infer, join, encode (and then a sink's store).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

from transforms.engine import Engine
from transforms.errors import WavemillError, is_full, is_out_of_memory, temporary_full
from transforms.operations import Operation
from transforms.options import AudioOptions, Options
from transforms.records import Audio, Failure, Input, Item, Outcome, Piece, Result, Work
from transforms.settings import Settings

Flow = list[Work | Failure]
OnPieces = Callable[[Sequence[Piece], float], None]
Answer = tuple[Outcome, float]
T = TypeVar("T")
R = TypeVar("R")
HELD_BYTES = 128 << 20
"""What small audio may wait in memory, of all pieces of a call of `infer`: 23 minutes at 24 kHz."""
FEW_BYTES = 64 << 10
"""What is not worth a file of its own."""


class Inferred(NamedTuple):
    """What the engine made of one item: an outcome a piece, and the compute seconds they took."""

    pieces: Sequence[Piece]
    results: Sequence[Outcome]
    seconds: float


class Stopped(Exception):
    """The run was asked to stop; what is unfinished stays undone."""


def failure_of(error: WavemillError) -> Failure:
    """The error as data, or the error raised again when it is the system's."""
    if error.kind in ("system", "usage"):
        raise error
    return Failure(error.code, error.detail, error.field)


def one_by_one(pieces: Sequence[Piece], act: Callable[[Piece], R]) -> list[R | Failure]:
    """What an engine makes of each piece by itself; what `act` raises of one is its Failure."""
    return [_or_failure(act, piece) for piece in pieces]


def together(pieces: Sequence[Piece], prepare: Callable[[Piece], R], make: Callable[[Sequence[R]], Iterable[Outcome]]) -> list[Outcome]:
    """What an engine makes at once of what `prepare` finds of each piece, in order; what that raises of one is its Failure."""
    prepared = one_by_one(pieces, prepare)
    able = [one for one in prepared if not isinstance(one, Failure)]
    made = iter(make(able) if able else ())
    return [one if isinstance(one, Failure) else next(made) for one in prepared]


def _or_failure(act: Callable[[T], R], given: T) -> R | Failure:
    try:
        return act(given)
    except WavemillError as error:
        return failure_of(error)


def each(works: Iterable[Work | Failure], act: Callable[[Work], Any], pool: Executor | None = None) -> Flow:
    """Every work with the payload `act` makes of it; what `act` raises of an item is its Failure."""

    def one(work: Work | Failure) -> Work | Failure:
        return work if isinstance(work, Failure) else _or_failure(lambda one: Work(one.item, act(one)), work)

    return list(pool.map(one, works)) if pool else [one(work) for work in works]


def check_item(engine: Engine, item: Item) -> None:
    """As `engine.check`; where the engine lacks the language it is told which others have it."""
    try:
        engine.check(item)
    except WavemillError as error:
        if error.code != "unsupported_language":
            raise
        from transforms.choosing import elsewhere

        raise WavemillError(error.code, error.detail + elsewhere(engine, item.options), error.field) from None


def check_options(engine: Engine, options: Options) -> None:
    """Refuse options that can work for no item. Raises `bad_usage` for what would blame an item, and other errors as they are."""
    try:
        check_item(engine, Item("", "", engine.operation, engine.name, options, {}))
    except WavemillError as error:
        if error.kind != "item":
            raise
        raise WavemillError("bad_usage", error.detail, error.field) from None


def check(works: Flow, operation: Operation, engine: Engine, settings: Settings) -> Flow:
    """Refuse what cannot work before a byte is read: voices, languages, texts that are too long."""
    texts = [name for name, kind in operation.inputs.items() if kind == "text"]

    def act(work: Work) -> None:
        check_item(engine, work.item)
        for name in texts:
            given = work.item.inputs.get(name)
            if given and given.kind == "text" and len(given.value) > settings.max_chars:
                raise WavemillError("text_too_long", f"{len(given.value)} characters, more than {settings.max_chars}", name)

    return each(works, act)


def fetch(works: Flow, operation: Operation, engine: Engine, settings: Settings, pool: Executor | None = None) -> Flow:
    """Payload: `{input name: text or Audio}`, audio at the engine's rate and channels."""

    def act(work: Work) -> dict[str, str | Audio]:
        return {
            name: given.value if given.kind == "text" else _named(name, given, operation, engine, settings)
            for name, given in work.item.inputs.items()
        }

    return each(works, act, pool)


def _named(name: str, given: Input, operation: Operation, engine: Engine, settings: Settings) -> str | Audio:
    """What is wrong with a file says which, and of which field."""
    try:
        return _fetch(name, given.value, given.version, operation, engine, settings)
    except WavemillError as error:
        if error.field or error.kind in ("system", "usage"):
            raise
        told = given.value in error.detail or given.value.startswith("memory:")  # which is audio that came inline
        raise WavemillError(error.code, error.detail if told else f"{given.value}: {error.detail}", name) from error


def _fetch(name: str, uri: str, version: str, operation: Operation, engine: Engine, settings: Settings) -> str | Audio:
    from transforms import storage

    with storage.open_input(uri) as opened:
        if version and not opened.matches(version):
            raise WavemillError("input_changed", f"{uri} is not the version that was planned; run again to plan it anew", name)
        if opened.bytes > settings.max_input_bytes:
            raise WavemillError("audio_too_large", f"{uri}: {opened.bytes} bytes, more than {settings.max_input_bytes}", name)
        if operation.inputs[name] == "text":
            text = opened.file.read(4 * settings.max_chars + 1).decode("utf-8", errors="replace")
            if len(text) > settings.max_chars:
                raise WavemillError("text_too_long", f"{uri}: more than {settings.max_chars} characters", name)
            return text
        from transforms import codec

        return codec.decode(opened.file, engine.rate_hz or None, engine.channels or None, settings.max_audio_h * 3600)


def split(works: Flow, operation: Operation, engine: Engine) -> Flow:
    """Payload: the list of pieces, each under the engine's limit."""
    module = operation.module
    return each(works, lambda work: module.split(work.item, work.payload, engine))


def infer(
    works: Flow,
    engine: Engine,
    pool: Executor | None = None,
    stop: threading.Event | None = None,
    on_pieces: OnPieces | None = None,
) -> Flow:
    """Payload: `Inferred`. Pieces of all items share batches; a failing batch is split down to the bad piece.

    A batch that failed while all its pieces went well in smaller ones was too large, whatever was raised: `engine.fits`
    remembers half of it, in padded cost, and later batches keep to that.

    Raises `Stopped` when `stop` is set, within the piece at hand.
    """
    call = _Call(engine, stop or threading.Event(), on_pieces)
    live = [work for work in works if isinstance(work, Work)]
    first = [work.payload[:1] if _leads(engine, work) else work.payload for work in live]
    answers = _run(call, first, pool)
    rest = [_led(engine, work.payload, done) if _leads(engine, work) else [] for work, done in zip(live, answers, strict=True)]
    if any(rest):
        answers = [a + b for a, b in zip(answers, _run(call, rest, pool), strict=True)]
    finished = iter(answers)
    return [work if isinstance(work, Failure) else _gather(work, next(finished)) for work in works]


def _gather(work: Work, answers: Sequence[Answer]) -> Work | Failure:
    outcomes = [outcome for outcome, _ in answers]
    bad = next((outcome for outcome in outcomes if isinstance(outcome, Failure)), None)
    return bad or Work(work.item, Inferred(work.payload, outcomes, sum(seconds for _, seconds in answers)))


def _leads(engine: Engine, work: Work) -> bool:
    """Whether the first piece must be heard before the others: it fixes options the user left open."""
    return len(work.payload) > 1 and any(getattr(work.item.options, name) is None for name in engine.carry)


def _led(engine: Engine, pieces: Sequence[Piece], done: Sequence[Answer]) -> list[Piece]:
    lead = done[0][0]
    if isinstance(lead, Failure):
        return []
    found = {name: lead.fields.get(name) for name in engine.carry if getattr(pieces[0].options, name) is None}
    options = pieces[0].options.model_copy(update=found)
    return [replace(piece, options=options) for piece in pieces[1:]]


def _run(call: _Call, pieces_of: Sequence[Sequence[Piece]], pool: Executor | None) -> list[list[Answer]]:
    flat = [piece for pieces in pieces_of for piece in pieces]
    order = _order(flat, call.engine)
    batches = list(_batches([flat[index] for index in order], call.engine))
    if pool is None:
        answers = [answer for batch in batches for answer in call(batch)]
    else:
        futures: list[Future[list[Answer]]] = [pool.submit(call, batch) for batch in batches]
        try:
            answers = [answer for future in futures for answer in future.result()]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    found = dict(zip(order, answers, strict=True))
    in_order = iter([found[index] for index in range(len(flat))])
    return [[next(in_order) for _ in pieces] for pieces in pieces_of]


def _order(pieces: Sequence[Piece], engine: Engine) -> Sequence[int]:
    """Indices of pieces. Where batches are filled up the longest are first among neighbours with the same options.

    So what memory does not hold shows at once.
    """
    if not engine.padded or engine.max_batch == 1:
        return range(len(pieces))
    same, runs = 0, list[int]()
    for index, piece in enumerate(pieces):
        same = index if _differ(piece, pieces[same]) else same
        runs.append(same)
    return sorted(range(len(pieces)), key=lambda index: (runs[index], -_size(pieces[index], engine)))


def _batches(pieces: Sequence[Piece], engine: Engine) -> Iterator[Sequence[Piece]]:
    """Runs of pieces with the same options, of at most `max_batch` pieces and, but for a single one, `max_batch_s` seconds."""
    start, seconds = 0, 0.0
    for index, piece in enumerate(pieces):
        seconds += audio_s(piece)
        full = index - start >= engine.max_batch or 0 < engine.max_batch_s < seconds
        if index > start and (full or _differ(piece, pieces[start])):
            yield pieces[start:index]
            start, seconds = index, audio_s(piece)
    if pieces:
        yield pieces[start:]


def audio_s(piece: Piece) -> float:
    """Seconds of audio that a piece holds."""
    return sum(given.duration_s for given in piece.inputs.values() if isinstance(given, Audio))


def _fitting(pieces: Sequence[Piece], engine: Engine) -> Sequence[Piece]:
    """The first pieces, as many as the engine's memory is thought to hold at once, and one at least."""
    count = 1
    while count < len(pieces) and _padded(pieces[: count + 1], engine) <= engine.fits:
        count += 1
    return pieces[:count]


def _padded(pieces: Sequence[Piece], engine: Engine) -> float:
    """What a batch costs in memory when all are padded to the longest."""
    return len(pieces) * max(_size(piece, engine) for piece in pieces)


def _size(piece: Piece, engine: Engine) -> float:
    """Seconds of audio or characters of text, of the input that is filled up where the engine names one."""
    given = [piece.inputs[engine.padded]] if engine.padded else piece.inputs.values()
    return sum(one.duration_s if isinstance(one, Audio) else len(str(one)) for one in given)


def _differ(a: Piece, b: Piece) -> bool:
    return a.options is not b.options and a.options != b.options


class _Call:
    """One engine call over a batch, with what a batch's failure means."""

    def __init__(self, engine: Engine, stop: threading.Event, on_pieces: OnPieces | None) -> None:
        self.engine, self.stop, self.on_pieces = engine, stop, on_pieces
        self.held_bytes = 0

    def __call__(self, batch: Sequence[Piece]) -> list[Answer]:
        began = time.perf_counter()
        outcomes = self._fit(batch)
        seconds = time.perf_counter() - began
        for piece in batch:
            _release(piece)
        if self.on_pieces:
            self.on_pieces(batch, seconds)
        return [(outcome, seconds / len(batch)) for outcome in outcomes]

    def _fit(self, batch: Sequence[Piece]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(batch):  # one at a time, because what fits may be learned by the last
            outcomes += self._bisect(_fitting(batch[len(outcomes) :], self.engine))
        return outcomes

    def _bisect(self, batch: Sequence[Piece]) -> list[Outcome]:
        if self.stop.is_set():
            raise Stopped
        try:
            outcomes = self.engine.run(batch)
            if len(outcomes) != len(batch):
                raise RuntimeError(f"{self.engine.name} gave {len(outcomes)} outcomes for {len(batch)} pieces")
            return [self._spilled(outcome) for outcome in outcomes]
        except WavemillError as error:
            if error.kind in ("system", "usage"):
                raise
            failure = Failure(error.code, error.detail, error.field)
        except Exception as error:  # a model may raise anything; what it raises is about these pieces
            if is_full(error):
                raise temporary_full() from error
            code = "out_of_memory" if is_out_of_memory(error) else "engine_error"
            failure = Failure(code, f"{self.engine.name}: {type(error).__name__}: {error}"[:500])
        if len(batch) == 1:
            return [failure]
        half = len(batch) // 2
        outcomes = self._fit(batch[:half]) + self._fit(batch[half:])
        of_size = failure.code in ("out_of_memory", "engine_error")  # some libraries tell memory by no type of its own
        if of_size and not any(isinstance(outcome, Failure) for outcome in outcomes):
            self.engine.fits = min(self.engine.fits, _padded(batch, self.engine) / 2)
        return outcomes

    def _spilled(self, outcome: Outcome) -> Outcome:
        """Large audio waits on disk for the item's other pieces, and small audio where much is waiting."""
        if isinstance(outcome, Failure):
            return outcome
        return Result(outcome.fields, {name: self._kept(o) if isinstance(o, Audio) else o for name, o in outcome.outputs.items()})

    def _kept(self, audio: Audio) -> Audio:
        from transforms.blocks import SPILL_BYTES, spill

        kept = spill(audio, SPILL_BYTES if self.held_bytes < HELD_BYTES else FEW_BYTES)
        if kept is audio:
            self.held_bytes += audio.samples.nbytes
        return kept


def _release(piece: Piece) -> None:
    """Long audio that has been heard need not stay in memory."""
    for given in piece.inputs.values():
        if isinstance(given, Audio):
            from transforms.blocks import release

            release(given.samples)


def join(works: Flow, operation: Operation, engine: Engine) -> Flow:
    """Payload: the item's `Result`, with `Audio` or `Encoded` outputs."""
    module = operation.module
    return each(works, lambda work: module.join(work.item, work.payload.pieces, work.payload.results, engine))


def encode(works: Flow) -> Flow:
    """Payload: the `Result` with every output `Encoded`; measured loudness joins its fields."""
    return each(works, _encode)


def _encode(work: Work) -> Result:
    result: Result = work.payload
    if not any(isinstance(output, Audio) for output in result.outputs.values()):
        return result
    from transforms import codec

    options = cast(AudioOptions, work.item.options)
    outputs, fields = dict(result.outputs), dict(result.fields)
    for name, output in result.outputs.items():
        if isinstance(output, Audio):
            if options.loudness is not None:
                from transforms import loudness

                output, measured = loudness.normalize(output, options.loudness, options.true_peak)
                fields |= {"lufs": round(measured.lufs, 2), "true_peak_dbtp": round(measured.true_peak_dbtp, 2)}
            outputs[name] = codec.encode(output, options, fields.get("provenance", ""))
    return Result(fields, outputs)
