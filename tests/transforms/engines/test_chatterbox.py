"""Chatterbox with small random weights that are made here: its real loading code, its voices, and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import lacking
from tests.transforms.engines import small_chatterbox
from tests.transforms.engines.small_chatterbox import ROWS
from transforms import chatterbox_model, identity, operations, steps, vad
from transforms.engine import Engine, Place, engine_class
from transforms.errors import WavemillError
from transforms.pull import pull
from transforms.records import Audio, Failure, Input, Item, Outcome, Piece, Result, Work
from transforms.settings import Settings
from transforms.speakers import MODEL

TEXT = "The boat is late."
LONG = "The harbour was quiet that morning. Two boats came in slowly, and an old man waved at them from the pier."
SPEAKS = ("synthesize", "clone")
OPERATIONS = ("synthesize", "clone", "embed", "convert_voice", "restyle")


def item(operation: str, inputs: dict[str, str], **options: Any) -> Item:
    row, cls = operations.operation(operation), engine_class(operation, "chatterbox")
    given = {name: Input("text" if row.inputs[name] == "text" else "uri", value) for name, value in inputs.items()}
    return Item("0" * 64, "a", operation, "chatterbox", cls.Options.parse(options), given)


@pytest.fixture(scope="module")
def models_dir(chatterbox_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    with small_chatterbox.rows(folder):
        yield folder


@pytest.fixture(scope="module")
def engines(models_dir: Path) -> Iterator[dict[str, Engine]]:
    made = {operation: engine_class(operation, "chatterbox")() for operation in OPERATIONS}
    for engine in made.values():
        engine.load(Place("cpu", 1, models_dir))
    yield made
    for engine in made.values():
        engine.close()


@pytest.fixture(scope="module")
def joe() -> Audio:
    """Six seconds of a voice, at the engines' rate."""
    import soxr

    cls = engine_class("synthesize", "piper")
    options = cls.Options()
    for model in cls().models(options):
        pull(model, Settings())
    engine = cls()
    engine.load(Place("cpu", 1, Settings().models_dir))
    (outcome,) = engine.run([Piece({"text": LONG}, options, 0)])
    assert isinstance(outcome, Result)
    spoken = outcome.outputs["audio"]
    return Audio(
        soxr.resample(spoken.samples[0], spoken.rate_hz, chatterbox_model.RATE_HZ)[None].astype(np.float32), chatterbox_model.RATE_HZ
    )


def ran(engine: Engine, inputs: dict[str, Any], seed: int = 1, **options: Any) -> Outcome:
    (outcome,) = engine.run([Piece(inputs, engine.Options.parse(options), seed)])
    return outcome


def made(engine: Engine, inputs: dict[str, Any], seed: int = 1, **options: Any) -> Result:
    outcome = ran(engine, inputs, seed, **options)
    assert isinstance(outcome, Result), outcome
    return outcome


def samples(result: Result) -> np.ndarray:
    audio = result.outputs["audio"]
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (1, audio.frames)
    assert audio.rate_hz == 24000
    assert np.isfinite(audio.samples).all()
    assert 0 < np.abs(audio.samples).max() <= 1
    return audio.samples[0]  # type: ignore[no-any-return]


def marks(heard: np.ndarray) -> np.ndarray:
    """The bits that Perth reads in samples at 24 kHz."""
    return np.asarray(chatterbox_model._watermarker().get_watermark(heard, sample_rate=24000))


@pytest.mark.slow
@pytest.mark.parametrize(("options", "model"), [({}, "tts"), ({"model": "turbo"}, "turbo"), ({"language": "de"}, "multilingual")])
def test_each_model_speaks_in_its_own_voice_and_another_seed_is_another_take(engines: dict[str, Engine], options: Any, model: str) -> None:
    first = made(engines["synthesize"], {"text": TEXT}, **options)
    assert first.fields == {"model": model, "watermark": "perth"}
    assert 0.2 < samples(first).size / 24000 < 20
    again = made(engines["synthesize"], {"text": TEXT}, **options)
    other = made(engines["synthesize"], {"text": TEXT}, seed=2, **options)
    assert samples(again).tobytes() == samples(first).tobytes()
    assert samples(other).tobytes() != samples(first).tobytes()


@pytest.mark.slow
def test_what_it_makes_carries_perths_watermark(engines: dict[str, Engine]) -> None:
    speech = samples(made(engines["synthesize"], {"text": TEXT}))
    assert marks(speech).mean() > 0.9
    assert marks(np.random.default_rng(0).standard_normal(speech.size).astype(np.float32) * 0.1).mean() < 0.9


@pytest.mark.slow
def test_a_clone_speaks_in_the_references_voice_and_says_what_it_is(engines: dict[str, Engine], joe: Audio) -> None:
    clone = made(engines["clone"], {"text": TEXT, "reference": joe})
    assert clone.fields == {
        "model": "tts",
        "watermark": "perth",
        "method": "chatterbox conditionals",
        "provenance": "synthetic speech in the voice of a reference, made by wavemill",
    }
    assert samples(clone).tobytes() != samples(made(engines["synthesize"], {"text": TEXT})).tobytes()
    again = made(engines["clone"], {"text": TEXT, "reference": joe})
    assert samples(again).tobytes() == samples(clone).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tts", "turbo"])
def test_a_stored_voice_speaks_as_the_clone_of_its_reference_does(
    engines: dict[str, Engine], joe: Audio, tmp_path: Path, model: str
) -> None:
    found = made(engines["embed"], {"audio": joe}, model=model)
    assert found.fields == {
        "engine": "chatterbox",
        "model": model,
        "method": "chatterbox conditionals",
        "duration_s": round(joe.duration_s, 3),
    }
    voice = found.outputs["voice"]
    assert voice.format == "json"
    stored = tmp_path / "joe.json"
    stored.write_bytes(voice.data)
    spoken = made(engines["synthesize"], {"text": TEXT}, model=model, voice=str(stored))
    clone = made(engines["clone"], {"text": TEXT, "reference": joe}, model=model)
    assert samples(spoken).tobytes() == samples(clone).tobytes()
    assert spoken.fields["provenance"] == clone.fields["provenance"]
    if model == "tts":
        converted = made(engines["convert_voice"], {"audio": joe}, voice=str(stored))
        assert converted.fields["provenance"] == clone.fields["provenance"]
    own = made(engines["synthesize"], {"text": TEXT}, model=model)
    assert "provenance" not in own.fields
    assert samples(own).tobytes() != samples(spoken).tobytes()
    other = ran(engines["synthesize"], {"text": TEXT}, model="turbo" if model == "tts" else "tts", voice=str(stored))
    assert isinstance(other, Failure)
    assert (other.code, other.field) == ("bad_option", "voice")


@pytest.mark.slow
def test_a_stored_voice_is_part_of_the_identity_by_what_it_holds(engines: dict[str, Engine], tmp_path: Path) -> None:
    engine, found = engines["synthesize"], []
    for data in (b"one", b"two", b"one"):
        (tmp_path / "a.json").write_bytes(data)
        found.append(identity.prefix(engine, engine.Options.parse({"voice": str(tmp_path / "a.json")})))
    assert found[0] == found[2] != found[1]


@pytest.mark.slow
def test_a_file_that_is_no_voice_fails_its_item(engines: dict[str, Engine], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"no tensors at all")
    for operation, inputs in (("synthesize", {"text": TEXT}), ("convert_voice", {"audio": Audio(np.zeros((1, 24000), np.float32), 24000)})):
        for name, code in (("a.json", "bad_option"), ("b.json", "input_not_found")):
            outcome = ran(engines[operation], inputs, voice=str(tmp_path / name))
            assert isinstance(outcome, Failure)
            assert outcome.code == code


@pytest.mark.slow
def test_feeling_and_the_other_options_reach_the_model(engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    made(engines["synthesize"], {"text": TEXT})
    t3, seen = engines["synthesize"]._models.open("chatterbox").t3, dict[str, Any]()  # type: ignore[attr-defined]
    inference = t3.inference
    monkeypatch.setattr(t3, "inference", lambda **given: inference(**(seen.update(given) or given)))
    made(engines["synthesize"], {"text": TEXT}, exaggeration=1.5, cfg_weight=0.3, temperature=0.7)
    assert (float(seen["t3_cond"].emotion_adv), seen["cfg_weight"], seen["temperature"]) == (1.5, 0.3, 0.7)
    made(engines["synthesize"], {"text": TEXT})
    assert (float(seen["t3_cond"].emotion_adv), seen["cfg_weight"], seen["temperature"]) == (0.5, 0.5, 0.8)


@pytest.mark.slow
def test_a_converted_recording_is_as_long_as_it_was_in_the_targets_voice_or_the_models(engines: dict[str, Engine], joe: Audio) -> None:
    part = Audio(joe.samples[:, : 24000 * 2 + 17], 24000)
    own = made(engines["convert_voice"], {"audio": part})
    targeted = made(engines["convert_voice"], {"audio": part, "target": joe})
    assert own.fields == {"watermark": "perth"}
    assert targeted.fields["provenance"] == "synthetic speech in the voice of a reference, made by wavemill"
    assert samples(own).size == samples(targeted).size == part.frames
    assert samples(own).tobytes() != samples(targeted).tobytes()
    for first, target in ((own, {}), (targeted, {"target": joe})):
        assert samples(made(engines["convert_voice"], {"audio": part, **target})).tobytes() == samples(first).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["clone", "embed", "convert_voice"])
def test_a_recording_that_tells_no_voice_is_refused(engines: dict[str, Engine], joe: Audio, operation: str) -> None:
    silence = Audio(np.zeros((1, 5 * 24000), np.float32), 24000)
    inputs = {
        "clone": {"text": TEXT, "reference": silence},
        "embed": {"audio": silence},
        "convert_voice": {"audio": joe, "target": silence},
    }
    outcome = ran(engines[operation], inputs[operation])
    assert isinstance(outcome, Failure)
    assert outcome.code == "bad_reference"
    assert "silent" in outcome.detail


@pytest.mark.slow
def test_turbo_wants_a_longer_reference_and_says_so(engines: dict[str, Engine], joe: Audio) -> None:
    short = Audio(joe.samples[:, : int(4.9 * 24000)], 24000)
    outcome = ran(engines["clone"], {"text": TEXT, "reference": short}, model="turbo")
    assert isinstance(outcome, Failure)
    assert outcome.code == "bad_reference"
    assert "more than 5 s" in outcome.detail


@pytest.mark.slow
def test_nothing_to_say_is_that_pieces_own_trouble(engines: dict[str, Engine]) -> None:
    options = engines["synthesize"].Options()
    first, nothing = engines["synthesize"].run([Piece({"text": TEXT}, options, 1), Piece({"text": "..."}, options, 1)])
    assert isinstance(first, Result)
    assert isinstance(nothing, Failure)
    assert nothing.code == "empty_text"


@pytest.mark.slow
def test_it_says_nothing_on_the_streams_and_logs_that_are_its_callers(
    engines: dict[str, Engine], joe: Audio, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    odd = Audio(joe.samples[:, : 5 * 24000 + 1234], 24000)
    for options in ({}, {"model": "turbo"}):
        made(engines["clone"], {"text": TEXT, "reference": odd}, **options)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


@pytest.mark.slow
def test_two_threads_at_once_open_one_copy_of_a_model(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatterbox.tts import ChatterboxTTS

    opened, from_local = list[str](), ChatterboxTTS.from_local

    def slowly(folder: Path, device: str) -> Any:
        opened.append(device)
        time.sleep(0.2)
        return from_local(folder, device)

    monkeypatch.setattr(ChatterboxTTS, "from_local", slowly)
    boxes = chatterbox_model.Chatterboxes(Place("cpu", 2, models_dir))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(boxes.open, ["chatterbox"] * 2)
    assert first is second
    assert opened == ["cpu"]
    boxes.close()


@pytest.mark.slow
def test_memory_that_does_not_suffice_is_the_items_own_transient_failure(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def no_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    made(engines["synthesize"], {"text": TEXT})
    speaking = engines["synthesize"]._models.open("chatterbox")  # type: ignore[attr-defined]
    monkeypatch.setattr(speaking.t3, "inference", no_memory)
    outcome = ran(engines["synthesize"], {"text": TEXT})
    assert isinstance(outcome, Failure)
    assert (outcome.code, "17 characters on cpu" in outcome.detail) == ("out_of_memory", True)


@pytest.mark.slow
def test_a_text_that_memory_does_not_hold_is_spoken_in_parts_and_so_are_those_after_it(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    engine = engine_class("synthesize", "chatterbox")()
    engine.load(Place("cpu", 1, models_dir))
    speaking = engine._models.open("chatterbox")  # type: ignore[attr-defined]
    asked, generate = list[str](), speaking.generate

    def short_of_memory(text: str, **given: Any) -> Any:
        asked.append(text)
        if len(text) > 60:
            raise torch.OutOfMemoryError("injected")
        return generate(text, **given)

    monkeypatch.setattr(speaking, "generate", short_of_memory)
    first = samples(made(engine, {"text": LONG}))
    assert len(asked[0]) > 60 > max(map(len, asked[1:]))
    assert " ".join(asked[1:]) == asked[0] == LONG
    assert min(map(len, asked)) > 20, "of few words the model makes others"
    asked.clear()
    assert samples(made(engine, {"text": LONG})).tobytes() == first.tobytes()
    assert " ".join(asked) == LONG, "and nothing larger is tried again"
    engine.close()


@pytest.mark.slow
def test_a_recording_that_memory_does_not_hold_is_converted_in_parts_and_is_as_long_as_it_was(
    models_dir: Path, joe: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile
    import torch

    engine = engine_class("convert_voice", "chatterbox")()
    engine.load(Place("cpu", 1, models_dir))
    model = engine._models.open("chatterbox-vc")  # type: ignore[attr-defined]
    asked, generate = list[float](), model.generate

    def short_of_memory(file: Any, **given: Any) -> Any:
        asked.append(soundfile.info(file).duration)
        file.seek(0)
        if asked[-1] > 4:
            raise torch.OutOfMemoryError("injected")
        return generate(file, **given)

    monkeypatch.setattr(model, "generate", short_of_memory)
    converted = samples(made(engine, {"audio": joe}))
    assert asked[0] > 4 > max(asked[1:])
    assert sum(asked[1:]) == pytest.approx(joe.duration_s) and converted.size == joe.frames
    asked.clear()
    assert samples(made(engine, {"audio": joe})).tobytes() == converted.tobytes()
    assert max(asked) < 4
    asked.clear()
    monkeypatch.setattr(vad, "find_speech", lambda audio, start, end: [(start, end)])
    most_s = engine._portion.most  # type: ignore[attr-defined]
    unbroken = Audio(joe.samples[:, : round((most_s + 0.005) * joe.rate_hz)], joe.rate_hz)
    assert samples(made(engine, {"audio": unbroken})).size == unbroken.frames
    assert asked == [unbroken.duration_s], "five milliseconds are no part"
    engine.close()


@pytest.mark.slow
def test_broken_weights_are_told_from_missing_ones(models_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "chatterbox").mkdir()
    for file in (models_dir / "chatterbox").iterdir():
        (tmp_path / "chatterbox" / file.name).symlink_to(file)
    whole = (models_dir / "chatterbox" / "t3_cfg.safetensors").read_bytes()
    (tmp_path / "chatterbox" / "t3_cfg.safetensors").unlink()
    (tmp_path / "chatterbox" / "t3_cfg.safetensors").write_bytes(b"\0" * len(whole))
    for folder, code in ((tmp_path, "weights_mismatch"), (tmp_path / "nowhere", "model_missing")):
        engine = engine_class("synthesize", "chatterbox")()
        engine.load(Place("cpu", 1, folder))
        with pytest.raises(WavemillError) as caught:
            ran(engine, {"text": TEXT})
        assert caught.value.code == code


@pytest.mark.slow
def test_restyled_speech_is_the_sources_own_voice_held_to_its_timing(
    engines: dict[str, Engine], joe: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in engines["restyle"].models(engines["restyle"].Options.parse({"stt.model": "tiny.en"})):
        if model not in ROWS and model != MODEL:
            (Path(engines["restyle"]._place.models_dir) / model).symlink_to(pull(model, Settings()))  # type: ignore[attr-defined]
    monkeypatch.setattr("transforms.synthesize._gate", lambda n, of, piece, audio: (audio, 0))  # random weights say no text in its time
    restyled = made(engines["restyle"], {"audio": joe}, exaggeration=1.0, **{"stt.model": "tiny.en"})
    assert "boats" in restyled.fields["text"]
    assert restyled.fields["watermark"] == "perth"
    assert restyled.fields["provenance"] == "synthetic speech in the voice of a reference, made by wavemill"
    assert samples(restyled).size >= joe.frames


@pytest.mark.slow
def test_a_clone_of_a_text_keeps_what_is_told_of_its_voice(engines: dict[str, Engine], joe: Audio) -> None:
    row, engine, given = operations.operation("clone"), engines["clone"], item("clone", {"text": TEXT, "reference": "joe.wav"})
    pieces = row.module.split(given, {"text": TEXT, "reference": joe}, engine)
    spoken = Audio(np.random.default_rng(0).standard_normal((1, 30000)).astype(np.float32) * 0.1, 24000)
    results = [Result({"model": "tts", "watermark": "perth", "provenance": "so"}, {"audio": spoken}) for _ in pieces]
    (joined,) = steps.join([Work(given, steps.Inferred(pieces, results, 0.0))], row, engine)
    assert isinstance(joined, Work)
    assert {"model", "watermark", "provenance"} <= set(joined.payload.fields)


def refused(operation: str, inputs: dict[str, str], **options: Any) -> tuple[str, str | None]:
    with pytest.raises(WavemillError) as caught:
        engine_class(operation, "chatterbox")().check(item(operation, inputs, **options))
    return caught.value.code, caught.value.field


def test_options_that_no_model_follows_are_refused_at_once() -> None:
    text = {"text": TEXT}
    assert refused("synthesize", text, language="zh") == ("unsupported_language", "language")
    assert refused("synthesize", text, language="de", model="tts") == ("unsupported_language", "language")
    assert refused("synthesize", text, speed=1.2) == ("bad_option", "speed")
    assert refused("synthesize", text, model="turbo", exaggeration=1.0) == ("bad_option", "exaggeration")
    assert refused("synthesize", text, voice="af_bella") == ("unknown_voice", "voice")
    assert refused("clone", text, voice="a.json") == ("bad_option", "voice")
    assert refused("convert_voice", {"audio": "a.wav"}, voice="af_bella") == ("unknown_voice", "voice")
    assert refused("convert_voice", {"audio": "a.wav"}, language="en") == ("bad_option", "language")
    assert refused("restyle", {"audio": "a.wav"}, voice="af_bella") == ("bad_option", "voice")


def test_a_language_chooses_the_model_where_none_is_named() -> None:
    engine = engine_class("synthesize", "chatterbox")()
    chosen = [engine.models(engine.Options.parse({"language": language})) for language in (None, "en-GB", "pt_BR")]
    assert chosen == [("chatterbox",), ("chatterbox",), ("chatterbox-multilingual",)]


@pytest.mark.parametrize("operation", OPERATIONS[:-1])
def test_where_the_package_is_not_installed_the_engine_says_which_extra_has_it(operation: str) -> None:
    if not lacking("chatterbox"):
        pytest.skip("it is installed here")
    with pytest.raises(WavemillError, match=r"wavemill\[chatterbox\]") as caught:
        engine_class(operation, "chatterbox")().load(Place())
    assert caught.value.code == "engine_unloadable"
