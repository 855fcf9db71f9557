"""Who speaks, by models of the user's: what the options promise in each engine, and pieces told apart by a stand-in and by toys."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pipelines.one import run_items
from tests.conftest import lacking
from tests.transforms.engines import sherpa_folders
from transforms import codec, identity, transcribe
from transforms.diarize import Turn
from transforms.engine import Engine, Place, engine_class
from transforms.engines import diarizing
from transforms.engines.diarizing import Diarizer
from transforms.errors import WavemillError
from transforms.options import AudioOptions
from transforms.records import Audio, Failure, Input, Item, Result
from transforms.settings import Settings

ENGINES = ("faster-whisper", "sherpa")
RATE_HZ = 16000
AUDIO = Audio(np.zeros((1, 10 * RATE_HZ), np.float32), RATE_HZ)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return engine_class("transcribe", request.param)()


@pytest.fixture
def given(engine: Engine, tmp_path: Path) -> Callable[..., Any]:
    """Options of the engine, which names a model where it needs one."""
    own = {"model_dir": str(sherpa_folders.fake("sensevoice", tmp_path / "hears"))} if engine.name == "sherpa" else {}
    return lambda **options: engine.Options.parse(own | options)


def refused(engine: Engine, options: Any) -> WavemillError:
    with pytest.raises(WavemillError) as caught:
        engine.check(Item("0", "a", "transcribe", engine.name, options, {"audio": Input("uri", "a.wav")}))
    assert caught.value.field == "diarize_models"
    return caught.value


def test_a_folder_without_the_models_or_without_diarize_is_refused_before_anything_is_loaded(
    engine: Engine, given: Callable[..., Any], tmp_path: Path
) -> None:
    folder = sherpa_folders.fake("pyannote", tmp_path / "apart")
    assert refused(engine, given(diarize_models=str(folder))).code == "bad_option"
    next(folder.glob("3dspeaker*")).unlink()
    lacks = refused(engine, given(diarize=True, diarize_models=str(folder)))
    assert (lacks.code, "has no embedding" in str(lacks.detail)) == ("model_missing", True)
    nowhere = refused(engine, given(diarize=True, diarize_models=str(tmp_path / "nowhere")))
    assert (nowhere.code, "there is no folder" in str(nowhere.detail)) == ("model_missing", True)


def test_where_sherpa_is_not_installed_its_extra_is_named_before_anything_is_loaded(
    engine: Engine, given: Callable[..., Any], tmp_path: Path
) -> None:
    if not lacking("sherpa"):
        pytest.skip("it is installed here")
    missing = refused(engine, given(diarize=True, diarize_models=str(sherpa_folders.fake("pyannote", tmp_path / "apart"))))
    assert (missing.code, "wavemill[sherpa]" in str(missing.detail)) == ("model_unavailable", True)


def test_what_tells_speakers_apart_is_part_of_the_identity_only_where_it_is_asked_for(
    engine: Engine, given: Callable[..., Any], tmp_path: Path
) -> None:
    folder = sherpa_folders.fake("pyannote", tmp_path / "apart")
    plain, own, named = given(), given(diarize=True), given(diarize=True, diarize_models=str(folder))
    assert engine.weights(own) == f"{engine.weights(plain)}+{diarizing.identity(own)[0]}"
    assert "speaker-encoder" in engine.models(own)
    assert engine.weights(named).startswith(f"{engine.weights(plain)}+sherpa-pyannote@sha256:")
    assert engine.models(named) == engine.models(plain), "the encoder is not pulled for nothing"
    before = identity.prefix(engine, named)
    (folder / "model.onnx").write_text("another\n")
    os.utime(folder / "model.onnx", ns=(1, 1))
    assert identity.prefix(engine, named) != before


def heard(audio: Audio) -> Result:
    """A transcript of two segments."""
    spans = [(0, 0.4 * audio.duration_s, "a"), (0.6 * audio.duration_s, audio.duration_s, "b")]
    segments = [{"start": start, "end": end, "text": text} for start, end, text in spans]
    return Result({"text": "a b", "language": "en", "duration_s": audio.duration_s, "segments": segments})


class Talk:
    """Stands for sherpa-onnx's models: the same two speak in each piece, but their numbers are swapped in each second one."""

    asked: ClassVar[list[int | None]] = []

    def __init__(self, folder: str, speakers: int | None) -> None:
        self.asked.append(speakers)
        self.told = 0

    def tell(self, audio: Audio) -> tuple[list[Turn], list[np.ndarray]]:
        first, self.told = self.told % 2, self.told + 1
        middle, voices = audio.duration_s / 2, np.eye(2)
        return [Turn(0, middle, first), Turn(middle, audio.duration_s, 1 - first)], [voices[first], voices[1 - first]]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> type[Talk]:
    monkeypatch.setattr(diarizing, "SherpaDiarizer", Talk)
    monkeypatch.setattr(Talk, "asked", [])
    return Talk


def joined(seconds: float, speakers: int | None = None) -> tuple[int, Result]:
    """How many pieces the audio was cut into, and their transcript."""
    engine, diarizer = engine_class("transcribe", "faster-whisper")(), Diarizer(Place())
    engine.max_s = 10.0  # type: ignore[misc]
    options = engine.Options.parse({"diarize": True, "diarize_models": "/models", "speakers": speakers})
    item = Item("0" * 64, "a", "transcribe", engine.name, options, {"audio": Input("uri", "a.wav")})
    pieces = transcribe.split(item, {"audio": Audio(np.zeros((1, round(seconds * RATE_HZ)), np.float32), RATE_HZ)}, engine)
    told = [diarizer.tell(heard(audio), audio, piece.options) for piece in pieces if isinstance(audio := piece.inputs["audio"], Audio)]
    return len(pieces), transcribe.join(item, pieces, [one for one in told if isinstance(one, Result)], engine)


@pytest.mark.parametrize(("seconds", "speakers", "asked"), [(10, 2, 2), (20, 2, None), (20, None, None)])
def test_speakers_told_apart_by_the_users_models_are_the_same_in_all_pieces(
    talk: type[Talk], seconds: float, speakers: int | None, asked: int | None
) -> None:
    pieces, transcript = joined(seconds, speakers)
    assert (pieces > 1) == (seconds > 10)
    assert transcript.fields["speakers"] == 2
    segments = json.loads(transcript.outputs["transcript"].data)["segments"]  # type: ignore[union-attr]
    assert [segment["speaker"] for segment in segments] == ["SPEAKER_00", "SPEAKER_01"] * pieces
    assert talk.asked == [asked], "opened once, and told how many speak only where it hears all of them"


def test_the_transcript_stands_when_the_users_models_fail(talk: type[Talk], monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(self: Talk, audio: Audio) -> Any:
        raise RuntimeError("no ears")

    monkeypatch.setattr(talk, "tell", deaf)
    _, transcript = joined(10)
    assert (transcript.fields["text"], transcript.fields["diarization_error"]) == ("a b", "RuntimeError: no ears")


def test_what_could_not_be_heard_and_what_nobody_asked_for_is_left_as_it_is(talk: type[Talk]) -> None:
    cls = engine_class("transcribe", "faster-whisper")
    failure, result = Failure("engine_error", "deaf"), heard(AUDIO)
    assert Diarizer(Place()).tell(failure, AUDIO, cls.Options.parse({"diarize": True, "diarize_models": "/models"})) is failure
    assert Diarizer(Place()).tell(result, AUDIO, cls.Options()) is result
    assert talk.asked == []


@pytest.mark.extra("sherpa")
def test_toys_tell_speakers_apart_in_a_file_of_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = engine_class("transcribe", "sherpa")
    times = np.arange(4 * RATE_HZ) / RATE_HZ
    low, high = (0.3 * np.sin(2 * np.pi * hz * times) for hz in (150, 3000))
    pause = np.zeros(RATE_HZ)
    samples = np.concatenate([part for sound in (low, high, high, low, low, high) for part in (sound, pause)])[None].astype(np.float32)
    (tmp_path / "talk.wav").write_bytes(codec.encode(Audio(samples, RATE_HZ), AudioOptions(format="wav")).data)
    hears, apart = sherpa_folders.hearing_toy(tmp_path / "hears"), sherpa_folders.telling_toy(tmp_path / "apart")
    told: list[Any] = []
    tell = Diarizer.tell
    monkeypatch.setattr(Diarizer, "tell", lambda *given: told.append(tell(*given)) or told[-1])
    for max_s, speakers in ((12.0, None), (12.0, 2), (12.0, 1), (600.0, 1)):
        monkeypatch.setattr(cls, "max_s", max_s)
        told.clear()
        options = cls.Options.parse({"model_dir": str(hears), "diarize": True, "diarize_models": str(apart), "speakers": speakers})
        (outcome,) = run_items("transcribe", "sherpa", options, [{"audio": Input("uri", str(tmp_path / "talk.wav"))}], Settings())
        assert isinstance(outcome, Result), outcome
        assert outcome.fields["speakers"] == (speakers or 2)
        assert (len(told) == 1) == (max_s == 600.0)
        assert all(len(each.fields["speakers"]) == (1 if max_s == 600.0 else 2) for each in told), "in a piece all are found out"


@pytest.mark.extra("sherpa")
def test_a_file_that_is_no_model_of_theirs_is_told_by_its_folder(tmp_path: Path) -> None:
    folder = sherpa_folders.telling_toy(tmp_path)
    next(path for path in folder.glob("*.onnx") if path.name != "model.onnx").write_bytes(b"no model")
    options = engine_class("transcribe", "faster-whisper").Options.parse({"diarize": True, "diarize_models": str(folder)})
    with pytest.raises(WavemillError) as caught:
        Diarizer(Place()).tell(heard(AUDIO), AUDIO, options)
    assert (caught.value.code, caught.value.field) == ("weights_mismatch", "diarize_models")
