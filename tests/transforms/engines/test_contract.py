"""What every engine promises, held against every engine there is, with its real weights or, where no package has any, small random ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest

from tests.conftest import lacking
from tests.transforms.engines import sherpa_folders, small_chatterbox, small_demucs, tiny_translator
from tests.transforms.text_endpoint import serve
from transforms import engine as engine_table, models, operations
from transforms.chain import Chain
from transforms.engine import Engine, Place, engine_class
from transforms.engines import apertium, chatterbox
from transforms.errors import WavemillError
from transforms.pull import pull
from transforms.records import Audio, Failure, Input, Item, Outcome, Piece, Result
from transforms.settings import Settings

ENGINES = [(operation, name) for operation, table in engine_table.ENGINES.items() for name in table]
TEXTS = ("Good morning.", "The boat is late.", "We wait for it here.")
QUICK = {"stt.model": "tiny.en", "stt.beam_size": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    "transcribe-faster-whisper": {"model": "tiny.en", "beam_size": 1},
    "convert_voice-cascade": QUICK,
    "restyle-cascade": QUICK,
    "chat-cascade": {**QUICK, "llm.max_tokens": 8},
}

SPEAKS = ("synthesize", "clone")
RESPOKEN = ("chat", "convert_voice", "restyle", "translate")
"""Operations whose output is speech of their own, not their input changed."""
VOICED = ("clone", "embed", "convert_voice", "restyle", "translate")
"""Operations to which a recording tells a voice; that takes some seconds."""

CLASSES = {"-".join(row): engine_class(*row) for row in ENGINES}

RANDOM = {"demucs": small_demucs, "chatterbox": small_chatterbox}
"""Engines whose weights no package carries, and what writes theirs."""
MODELS_DIRS = dict[str, Path]()
"""Where the random weights are, under `random`."""
OWN_IDENTITY = ("apertium", "ctranslate2", "openai", "sherpa")
"""Engines whose weights are no rows of the table, and which say themselves what they run."""


def of_texts(cls: type[Engine]) -> bool:
    """Whether it makes texts of texts."""
    row = operations.operation(cls.operation)
    return row.inputs[row.main_input] == row.output == "text"


def marks_of(cls: type[Engine]) -> Any:
    return pytest.mark.extra(cls.extra) if cls.extra else ()


def each_engine(which: Callable[[type[Engine]], bool] = lambda cls: True) -> pytest.MarkDecorator:
    """A loaded engine each; of those that need an extra, where it is installed."""
    rows = [pytest.param(cls, marks=marks_of(cls), id=name) for name, cls in CLASSES.items() if which(cls)]
    return pytest.mark.parametrize("engine", rows, indirect=True)


def each_class(which: Callable[[type[Engine]], bool] = lambda cls: True, runs: bool = False) -> pytest.MarkDecorator:
    """A class each, whatever is installed; where the test has it do its work (`runs`), as `each_engine`."""
    rows = [pytest.param(cls, marks=marks_of(cls) if runs else (), id=name) for name, cls in CLASSES.items() if which(cls)]
    return pytest.mark.parametrize("cls", rows)


@pytest.fixture(scope="session", autouse=True)
def sherpa(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Folders for the engine that has no weights of its own; without noise what it says is the same each time."""
    root = tmp_path_factory.mktemp("sherpa")
    speaks = sherpa_folders.fake("piper", root / "speaks") if lacking("sherpa") else sherpa_folders.piper(root / "speaks")
    OPTIONS["synthesize-sherpa"] = {"model_dir": str(speaks), "noise_scale": 0, "noise_w": 0}
    OPTIONS["transcribe-sherpa"] = {"model_dir": str(sherpa_folders.hearing_toy(root / "hears"))}


@pytest.fixture(scope="module", autouse=True)
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with random weights of the engines that have no others, where their extras are installed."""
    folder = MODELS_DIRS["random"] = tmp_path_factory.mktemp("models")
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(chatterbox.Chatterbox, "gated", False)  # it says no text in its time
        for name, made in RANDOM.items():
            if not lacking(next(cls.extra for cls in CLASSES.values() if cls.name == name)):
                stack.enter_context(made.rows(folder))
        yield


@pytest.fixture(autouse=True, scope="module")
def endpoint() -> Iterator[None]:
    """What the `openai` engines speak to."""
    with serve() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAVEMILL_TEXT_URL", running.url)
        patch.setenv("WAVEMILL_TEXT_MODEL", "echo")
        yield


def values_of(cls: type[Engine]) -> dict[str, Any]:
    """The options without which the engine would be asked for nothing it can do."""
    values = OPTIONS.get(f"{cls.operation}-{cls.name}", {})
    if cls.operation == "translate_text":
        values = values | {"to": "es"}
    if (cls.operation, cls.name) == ("translate_text", "ctranslate2"):
        values = values | {"model_dir": str(tiny_translator.made())}
    return values


def options_of(cls: type[Engine], **more: Any) -> Any:
    return cls.Options.parse(values_of(cls) | more)


def item_of(cls: type[Engine], **options: Any) -> Item:
    main = operations.operation(cls.operation).main_input
    inputs = {main: Input("text", "Hello.") if main == "text" else Input("uri", "a.wav")}
    return Item("0" * 64, "a", cls.operation, cls.name, options_of(cls, **options), inputs)


def need_programs(cls: type[Engine]) -> None:
    """Skip, by name, what asks an engine for what only a program of the system knows."""
    absent = [program for program in cls.programs if which(program) is None]
    if absent:
        pytest.skip(f"{cls.operation} {cls.name} needs the program {', '.join(absent)}")
    if cls.name == "apertium" and "eng-spa" not in apertium.installed():
        pytest.skip(f"{cls.operation} {cls.name} needs the pair eng-spa")


def models_dir(cls: type[Engine]) -> Path:
    """The folder of an engine's weights, all of them there."""
    settings = Settings()
    folder = MODELS_DIRS["random"] if cls.name in RANDOM else settings.models_dir
    for model in cls().models(options_of(cls)):
        if cls.name not in RANDOM:
            pull(model, settings)
        elif not (folder / model).exists():
            (folder / model).symlink_to(pull(model, settings))
    return folder


def loaded(cls: type[Engine], threads: int = 2) -> Engine:
    """A loaded engine with its weights."""
    need_programs(cls)
    made = cls()
    made.load(Place("cpu", threads, models_dir(cls)))
    return made


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Any:
    """One loaded engine, shared by the tests of this file that do not close it."""
    made = loaded(request.param)
    yield made
    made.close()


@cache
def told() -> Audio:
    """Enough of a voice to know it by."""
    piper = engine_class("synthesize", "piper")
    text = "The harbour was quiet that morning, and two boats came in slowly."
    (spoken,) = loaded(piper).run([Piece({"text": text}, options_of(piper), 0)])
    assert isinstance(spoken, Result)
    audio: Audio = spoken.outputs["audio"]
    return audio


@pytest.fixture(scope="session")
def speech() -> list[Audio]:
    """The texts, spoken by Piper."""
    piper = engine_class("synthesize", "piper")
    spoken = loaded(piper).run([Piece({"text": text}, options_of(piper), seed) for seed, text in enumerate(TEXTS)])
    return [outcome.outputs["audio"] for outcome in spoken if isinstance(outcome, Result)]


def taken_by(cls: type[Engine], audio: Audio) -> Audio:
    """The audio at the engine's rate and channels, as a fetch would give it."""
    import soxr

    rate_hz = cls.rate_hz or audio.rate_hz
    samples = soxr.resample(audio.samples[0], audio.rate_hz, rate_hz)[None].repeat(cls.channels or 1, axis=0)
    return Audio(samples.astype(np.float32), rate_hz)


@pytest.fixture(scope="module")
def pieces(engine: Engine, speech: list[Audio]) -> list[Piece]:
    """One for each text; of engines whose answers mean nothing, and of chains, two are enough."""
    cls = type(engine)
    given = list(zip(TEXTS, speech, strict=True))[: 2 if cls.name in RANDOM or issubclass(cls, Chain) else None]
    return [piece_of(cls, text, audio, options_of(cls), seed) for seed, (text, audio) in enumerate(given)]


def piece_of(cls: type[Engine], text: str, audio: Audio, options: Any, seed: int = 0) -> Piece:
    """A piece with every input that an item of the operation must have."""
    row = operations.operation(cls.operation)
    voiced = cls.operation in VOICED and audio.samples.any()
    heard = taken_by(cls, told() if voiced else audio)
    needed = [name for name in row.inputs if name not in row.optional] or [row.main_input]
    return Piece({name: text if row.inputs[name] == "text" else heard for name in needed}, options, seed)


@pytest.fixture(scope="module")
def outcomes(engine: Engine, pieces: list[Piece]) -> list[Outcome]:
    return engine.run(pieces)


def words_of(text: str) -> list[str]:
    return text.lower().replace(".", " ").split()


def bytes_of(outcomes: Sequence[Outcome]) -> list[Any]:
    """Outcomes as something `==` compares to the bit."""
    assert all(isinstance(outcome, Result) for outcome in outcomes)
    return [
        (
            dict(outcome.fields),
            {name: made.samples.tobytes() if isinstance(made, Audio) else made for name, made in outcome.outputs.items()},
        )
        for outcome in outcomes
        if isinstance(outcome, Result)
    ]


@each_class()
def test_an_engine_declares_what_it_is(cls: type[Engine]) -> None:
    row = operations.operation(cls.operation)
    assert engine_class(cls.operation, cls.name) is cls
    assert issubclass(cls.Options, row.module.Options)
    assert cls.version >= 1
    assert cls.rate_hz > 0 or row.output in ("audio", "stems") or of_texts(cls)
    assert cls.channels in (0, 1, 2)
    assert cls.max_batch >= 1
    assert cls.cost_s > 0
    assert cls.max_chars > 0 or row.main_input != "text"
    assert 0 <= 2 * cls.overlap_s <= cls.max_s
    assert set(cls.carry) <= set(cls.Options.model_fields)
    for name, option in cls.Options.model_fields.items():
        assert option.description, f"{name} has no description"
        assert not option.is_required(), f"{name} has no default"


@each_class()
def test_checking_an_item_needs_neither_weights_nor_heavy_imports(cls: type[Engine]) -> None:
    need_programs(cls)
    code = f"""
import json, sys
from transforms.engine import engine_class
from transforms.records import Input, Item
cls = engine_class({cls.operation!r}, {cls.name!r})
engine = cls()
options = cls.Options.parse(json.loads(sys.argv[1]))
engine.check(Item("0" * 64, "a", {cls.operation!r}, {cls.name!r}, options, {{"text": Input("text", "Hello.")}}))
engine.models(options), engine.weights(options), engine.language(options)
print(sorted(sys.modules))
"""
    command = [sys.executable, "-W", "error", "-c", code, json.dumps(values_of(cls))]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    heavy = ("onnxruntime", "onnx", "ctranslate2", "faster_whisper", "piper", "misaki", "spacy", "av", "huggingface_hub", "sherpa_onnx")
    for module in (
        *heavy,
        "torch",
        "chatterbox",
        "perth",
        "soundfile",
        "demucs",
        "kokoro",
        "scipy",
        "librosa",
        "sentencepiece",
        "xllamacpp",
        "httpx",
    ):
        assert f"'{module}'" not in seen


@each_class()
def test_the_models_an_engine_names_are_rows_of_the_table_for_it(cls: type[Engine]) -> None:
    need_programs(cls)
    for model in cls().models(options_of(cls)):
        assert models.known(model).engine in {"speakers", *(getattr(base, "name", "") for base in cls.__mro__)} or issubclass(cls, Chain)
    assert cls().weights(options_of(cls)) == cls().weights(options_of(cls))
    named = bool(cls().models(options_of(cls))) or cls.name in OWN_IDENTITY
    assert bool(cls().weights(options_of(cls))) == named


@each_class(lambda cls: bool(cls.languages))
def test_a_language_that_an_engine_does_not_know_is_refused_at_once_with_those_it_has(cls: type[Engine]) -> None:
    with pytest.raises(WavemillError) as caught:
        cls().check(item_of(cls, language="tlh"))
    assert (caught.value.code, caught.value.field) == ("unsupported_language", "language")
    assert re.search(r"\ben\b|\ben[-_](us|US)\b", caught.value.detail)
    cls().check(item_of(cls, language="en"))


@pytest.mark.parametrize("name", engine_table.ENGINES["synthesize"])
def test_a_voice_that_nobody_has_is_refused_at_once(name: str) -> None:
    cls = engine_class("synthesize", name)
    with pytest.raises(WavemillError) as caught:
        cls().check(item_of(cls, voice="nobody"))
    assert (caught.value.code, caught.value.field) == ("unknown_voice", "voice")


@each_class(lambda cls: bool(cls().models(cls.Options())), runs=True)
def test_without_its_weights_an_engine_says_what_fetches_them(cls: type[Engine], tmp_path: Path, speech: list[Audio]) -> None:
    need_programs(cls)
    made = cls()
    pieces = [piece_of(cls, TEXTS[0], speech[0], options_of(cls))]
    made.load(Place("cpu", 1, tmp_path))
    with pytest.raises(WavemillError, match="wavemill models pull") as caught:
        made.run(pieces)
    assert caught.value.code == "model_missing"


@each_engine()
def test_a_list_gives_a_list_of_the_same_length_in_the_same_order(engine: Engine, pieces: list[Piece], outcomes: list[Outcome]) -> None:
    assert engine.run([]) == []
    assert len(outcomes) == len(pieces)
    turned = engine.run(pieces[::-1])[::-1]  # the last first
    if engine.name != "faster-whisper":
        assert bytes_of(turned) == bytes_of(outcomes)
        return
    for text, *heard in zip(TEXTS, outcomes, turned, strict=True):
        for outcome in heard:  # pieces that share a window are heard in each other's company
            assert isinstance(outcome, Result)
            assert len(set(words_of(text)) ^ set(words_of(outcome.fields["text"]))) <= 2


@each_engine()
def test_what_comes_out_is_audio_or_a_text(engine: Engine, pieces: list[Piece], outcomes: list[Outcome]) -> None:
    for piece, outcome in zip(pieces, outcomes, strict=True):
        assert isinstance(outcome, Result)
        if engine.operation == "transcribe":
            given = piece.inputs["audio"]
            assert isinstance(given, Audio)
            assert {"text", "language", "duration_s", "segments"} <= set(outcome.fields)
            assert outcome.fields["duration_s"] == pytest.approx(given.duration_s)
            assert all(0 <= s["start"] <= s["end"] <= given.duration_s for s in outcome.fields["segments"])
            continue
        if of_texts(type(engine)):
            assert isinstance(outcome.fields["text"], str)
            assert outcome.outputs == {}
            continue
        if engine.operation not in (*SPEAKS, *RESPOKEN):
            check_processed(engine, piece, outcome)
            continue
        audio = outcome.outputs["audio"]
        assert audio.samples.dtype == np.float32
        assert audio.samples.shape == (engine.channels, audio.frames)
        assert audio.rate_hz == (24000 if engine.operation in RESPOKEN else engine.rate_hz or audio.rate_hz)
        assert np.isfinite(audio.samples).all()
        assert (0.0 if engine.name in RANDOM else 0.05) < np.abs(audio.samples).max() <= 1.0
        if engine.gated:
            assert 0.03 < audio.duration_s / len(str(piece.inputs["text"])) < 0.2


def row_output(engine: Engine) -> str:
    return operations.operation(engine.operation).output


def check_processed(engine: Engine, piece: Piece, outcome: Result) -> None:
    """Of an engine whose output runs along its input every output is as long; of one that makes data there is some."""
    given = piece.inputs["audio"]
    assert isinstance(given, Audio)
    assert outcome.outputs or operations.operation(engine.operation).output == "data"
    assert outcome.fields or outcome.outputs
    for audio in outcome.outputs.values() if row_output(engine) != "data" else ():
        assert audio.samples.dtype == np.float32
        assert (audio.channels, audio.rate_hz, audio.frames) == (given.channels, given.rate_hz, given.frames)
        assert np.isfinite(audio.samples).all()
        assert np.abs(audio.samples).max() <= 1.5


@each_engine(lambda cls: cls.deterministic)
def test_a_second_engine_gives_the_same_to_the_bit(engine: Engine, pieces: list[Piece], outcomes: list[Outcome]) -> None:
    other = loaded(type(engine), threads=1)
    assert bytes_of(other.run(pieces)) == bytes_of(outcomes)
    other.close()


@each_engine(lambda cls: cls.parallel == "threads")
def test_threads_that_share_an_engine_get_what_one_alone_gets(engine: Engine, pieces: list[Piece]) -> None:
    alone = [bytes_of(engine.run([piece])) for piece in pieces[:2]]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda piece: bytes_of(engine.run([piece])), pieces[:2])) == alone


@each_engine(lambda cls: cls.name != "echo")
def test_a_piece_of_nothing_is_its_own_trouble_alone(engine: Engine, pieces: list[Piece]) -> None:
    nothing = piece_of(type(engine), "...", Audio(np.zeros((1, 16000), np.float32), 16000), pieces[0].options)
    first, middle, last = engine.run([pieces[0], nothing, pieces[1]])
    assert isinstance(first, Result)
    assert isinstance(last, Result)
    if engine.operation not in ("synthesize", "transcribe"):  # of a silent reference it is the reference that fails
        assert isinstance(middle, Result | Failure)
    elif engine.operation == "transcribe":
        assert isinstance(middle, Result)
        assert (middle.fields["text"], middle.fields["segments"]) == ("", [])
    else:
        assert isinstance(middle, Failure)
        assert middle.code == "empty_text"


@each_class(runs=True)
def test_an_engine_that_was_closed_can_be_loaded_again(cls: type[Engine], speech: list[Audio]) -> None:
    made = loaded(cls)
    made.close()
    made.load(Place("cpu", 1, models_dir(cls)))
    (outcome,) = made.run([piece_of(cls, TEXTS[0], speech[0], options_of(cls))])
    assert isinstance(outcome, Result)
    made.close()
