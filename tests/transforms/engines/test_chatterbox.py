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
from transforms import chatterbox_model, chatterbox_takes, identity, operations, steps, vad
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


THREE = pytest.mark.parametrize("options", [{}, {"model": "turbo"}, {"language": "de"}], ids=["tts", "turbo", "multilingual"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"model": "turbo"}, {"language": "de"}, {"language": "de", "cfg_weight": 0.0}],
    ids=["tts", "turbo", "multilingual", "unguided"],
)
def test_a_text_alone_is_what_the_librarys_own_loop_makes_of_it(engines: dict[str, Engine], options: Any) -> None:
    engine, text = engines["synthesize"], {"text": TEXT}
    own = made(engine, text, seed=7, **options)
    boxes: chatterbox_model.Chatterboxes = engine._models  # type: ignore[attr-defined]
    model = boxes.open(engine.models(engine.Options.parse(options))[0])
    with boxes.sampling(7):
        drawn = {name: value for name, value in options.items() if name == "cfg_weight"}
        drawn |= {"language_id": "de", "repetition_penalty": 2.0} if "language" in options else {}
        wav = model.generate(TEXT, **drawn)
    np.testing.assert_array_equal(samples(own), np.clip(boxes.marked(wav[0].numpy()), -1, 1))


@pytest.mark.slow
@THREE
def test_texts_of_a_batch_are_drawn_together_and_are_what_they_are_alone(engines: dict[str, Engine], options: Any) -> None:
    engine, scores = engines["synthesize"], list[np.ndarray]()
    texts, parsed = [TEXT, "...", LONG, "No.", LONG[:60]], engine.Options.parse(options)
    t3 = engine._models.open(engine.models(parsed)[0]).t3  # type: ignore[attr-defined]
    hook = t3.speech_head.register_forward_hook(lambda head, given, made: scores.append(made[:, -1].numpy()))
    alone, scores_alone = list[Outcome](), list[list[np.ndarray]]()
    for seed, text in enumerate(texts, 7):
        alone.append(ran(engine, {"text": text}, seed, **options))
        scores_alone += [scores[:]] if scores else []
        scores.clear()
    together = engine.run([Piece({"text": text}, parsed, seed) for seed, text in enumerate(texts, 7)])
    hook.remove()
    rows = [len(step) for step in scores]
    assert rows[0] == 4 * len(scores_alone[0][0]) and rows[-1] < rows[0], "who has ended is no more waited for"
    assert rows == sorted(rows, reverse=True)
    for count, step in enumerate(scores):
        np.testing.assert_allclose(step, np.concatenate([own[count] for own in scores_alone if count < len(own)]), atol=1e-5)
    for one, other in zip(together, alone, strict=True):
        if isinstance(other, Failure):
            assert one == other
            continue
        assert isinstance(one, Result)
        assert samples(one).size == samples(other).size
        np.testing.assert_allclose(samples(one), samples(other), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"language": "de"}], ids=["tts", "multilingual"])
def test_without_guidance_it_speaks_too_and_computes_half_as_much(engines: dict[str, Engine], options: Any) -> None:
    """The library's loop takes the second half for granted: of multilingual it computes it in vain, of tts it fails without it."""
    engine, rows = engines["synthesize"], list[int]()
    t3 = engine._models.open(engine.models(engine.Options.parse(options))[0]).t3  # type: ignore[attr-defined]
    hook = t3.tfmr.register_forward_pre_hook(lambda _, args, given: rows.append(len(given["inputs_embeds"])), with_kwargs=True)
    assert samples(made(engine, {"text": TEXT}, cfg_weight=0.0, **options)).size
    hook.remove()
    assert set(rows) == {1}


@pytest.mark.slow
def test_clones_of_several_references_share_a_batch_and_one_that_is_none_fails_alone(engines: dict[str, Engine], joe: Audio) -> None:
    silence, half = Audio(np.zeros((1, 5 * 24000), np.float32), 24000), Audio(joe.samples[:, : joe.frames * 2 // 3], joe.rate_hz)
    options = engines["clone"].Options()
    given = [{"text": TEXT, "reference": reference} for reference in (joe, silence, half)]
    first, bad, second = engines["clone"].run([Piece(dict(one), options, 1) for one in given])
    assert isinstance(bad, Failure) and bad.code == "bad_reference"
    for one, inputs in ((first, given[0]), (second, given[2])):
        assert isinstance(one, Result)
        np.testing.assert_allclose(samples(one), samples(made(engines["clone"], inputs)), atol=1e-3)


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
    seen = drawing(monkeypatch)
    for options in ({"exaggeration": 1.5, "cfg_weight": 0.3, "temperature": 0.7}, {}):
        made(engines["synthesize"], {"text": TEXT}, **options)
    told = [(float(one["t3_cond"].emotion_adv), one["cfg_weight"], one["temperature"]) for (one,) in seen]
    assert told == [(1.5, 0.3, 0.7), (0.5, 0.5, 0.8)]


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


def drawing(monkeypatch: pytest.MonkeyPatch, most: int = 1000) -> list[list[Any]]:
    """What is asked of the loop that draws, in memory for so many characters at once, each text being as long as the longest."""
    import torch

    from transforms import chatterbox_batches

    seen, draw = list[list[Any]](), chatterbox_batches.draw

    def short_of_memory(t3: Any, asked: Any, generators: Any) -> Any:
        seen.append(list(asked))
        if len(asked) * max(one["text_tokens"].shape[1] for one in asked) > most:
            raise torch.OutOfMemoryError("injected")
        return draw(t3, asked, generators)

    monkeypatch.setattr(chatterbox_batches, "draw", short_of_memory)
    return seen


@pytest.mark.slow
def test_memory_that_does_not_suffice_is_the_items_own_transient_failure(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, most=0)
    with pytest.raises(WavemillError, match="17 characters on cpu") as caught:
        ran(engines["synthesize"], {"text": TEXT})
    assert caught.value.code == "out_of_memory"


@pytest.mark.slow
def test_a_text_that_memory_does_not_hold_is_spoken_in_parts_and_so_are_those_after_it(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_class("synthesize", "chatterbox")()
    engine.load(Place("cpu", 1, models_dir))
    asked, speak = list[str](), chatterbox_takes.speak
    monkeypatch.setattr(
        chatterbox_takes, "speak", lambda boxes, row, takes, **options: asked.extend(takes[0].parts) or speak(boxes, row, takes, **options)
    )
    drawing(monkeypatch, most=60)
    first = samples(made(engine, {"text": LONG}))
    assert len(asked[0]) > 60 > max(map(len, asked[1:]))
    assert " ".join(asked[1:]) == asked[0] == LONG
    assert min(map(len, asked)) > 20, "of few words the model makes others"
    asked.clear()
    assert samples(made(engine, {"text": LONG})).tobytes() == first.tobytes()
    assert " ".join(asked) == LONG, "and nothing larger is tried again"
    engine.close()


@pytest.mark.slow
def test_a_batch_that_memory_does_not_hold_is_halved_and_later_ones_keep_to_what_fitted(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_a_gpu, engine = engine_class("synthesize", "chatterbox")(), engine_class("synthesize", "chatterbox")()
    on_a_gpu.load(Place("cuda", 1, models_dir))
    engine.load(Place("cpu", 1, models_dir))
    assert (on_a_gpu.max_batch, engine.max_batch) == (4, 1)
    engine.max_batch, seen = on_a_gpu.max_batch, drawing(monkeypatch, most=60)
    options, texts = engine.Options(), [TEXT, "The wind is up.", "The night is long.", "He is at home."]
    for halved in (True, False):
        flow: list[Any] = [Work(item("synthesize", {"text": text}), [Piece({"text": text}, options, 7)]) for text in texts]
        found = steps.infer(flow, engine)
        assert [one.payload.results[0].fields["model"] for one in found if isinstance(one, Work)] == ["tts"] * 4
        counts = [len(asked) for asked in seen]
        assert counts == ([4, 2, 2] if halved else [2, 2])
        seen.clear()
    for made_of in (on_a_gpu, engine):
        made_of.close()


def decoding(monkeypatch: pytest.MonkeyPatch, most_s: float = 1000) -> list[list[float]]:
    """Seconds of the recordings that are decoded together, in memory for so many at once, each being as long as the longest."""
    import torch

    from transforms import chatterbox_batches

    seen, decode = list[list[float]](), chatterbox_batches.decode

    def short_of_memory(s3gen: Any, recordings: Any, voice: Any, generators: Any) -> Any:
        seen.append([one.duration_s for one in recordings])
        if len(recordings) * max(seen[-1]) > most_s:
            raise torch.OutOfMemoryError("injected")
        return decode(s3gen, recordings, voice, generators)

    monkeypatch.setattr(chatterbox_batches, "decode", short_of_memory)
    return seen


@pytest.mark.slow
def test_a_recording_that_memory_does_not_hold_is_converted_in_parts_and_is_as_long_as_it_was(
    models_dir: Path, joe: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_class("convert_voice", "chatterbox")()
    engine.load(Place("cpu", 1, models_dir))
    asked = decoding(monkeypatch, most_s=4)
    converted = samples(made(engine, {"audio": joe}))
    assert asked[0][0] > 4 > max(asked[1:])[0]
    assert sum(one for (one,) in asked[1:]) == pytest.approx(joe.duration_s) and converted.size == joe.frames
    asked.clear()
    assert samples(made(engine, {"audio": joe})).tobytes() == converted.tobytes()
    assert max(asked)[0] < 4
    asked.clear()
    monkeypatch.setattr(vad, "find_speech", lambda audio, start, end: [(start, end)])
    most_s = engine._portion.most  # type: ignore[attr-defined]
    unbroken = Audio(joe.samples[:, : round((most_s + 0.005) * joe.rate_hz)], joe.rate_hz)
    assert samples(made(engine, {"audio": unbroken})).size == unbroken.frames
    assert asked == [[unbroken.duration_s]], "five milliseconds are no part"
    engine.close()


@pytest.mark.slow
def test_a_recording_alone_is_what_the_librarys_own_converter_makes_of_it(engines: dict[str, Engine], joe: Audio) -> None:
    part = Audio(joe.samples[:, : 24000 * 2], 24000)
    boxes: chatterbox_model.Chatterboxes = engines["convert_voice"]._models  # type: ignore[attr-defined]
    model = boxes.open("chatterbox-vc")
    with boxes.sampling(7):
        wav = model.generate(chatterbox_model.as_wav(part))
    own = samples(made(engines["convert_voice"], {"audio": part}, seed=7))
    np.testing.assert_array_equal(own, np.clip(boxes.marked(wav[0].numpy()), -1, 1))


@pytest.mark.slow
def test_what_is_decoded_together_is_what_it_is_alone_up_to_its_end(engines: dict[str, Engine], joe: Audio) -> None:
    import torch

    from transforms import chatterbox_batches

    model = engines["convert_voice"]._models.open("chatterbox-vc")  # type: ignore[attr-defined]
    parts = [Audio(joe.samples[:, start * 24000 : end * 24000 + start], 24000) for start, end in ((0, 2), (1, 4), (2, 3))]

    def decoded(*indices: int) -> list[Any]:
        dice = [torch.Generator().manual_seed(index) for index in indices]
        with torch.inference_mode():
            return chatterbox_batches.decode(model.s3gen, [parts[index] for index in indices], model.ref_dict, dice)

    for one, index in zip(decoded(0, 1, 2), range(3), strict=True):
        torch.testing.assert_close(one, decoded(index)[0], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_recordings_of_a_batch_are_decoded_together_by_voice_and_are_what_they_are_alone(
    engines: dict[str, Engine], joe: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, options = engines["convert_voice"], engines["convert_voice"].Options()
    part, short = Audio(joe.samples[:, : 24000 * 3 + 17], 24000), Audio(joe.samples[:, 24000 : 24000 * 2], 24000)
    silence = Audio(np.zeros((1, 5 * 24000), np.float32), 24000)
    given = [{"audio": part}, {"audio": part, "target": joe}, {"audio": part, "target": silence}, {"audio": short}]
    alone = [ran(engine, dict(inputs), seed) for seed, inputs in enumerate(given)]
    asked = decoding(monkeypatch)
    together = engine.run([Piece(dict(inputs), options, seed) for seed, inputs in enumerate(given)])
    assert asked == [[part.duration_s, short.duration_s], [part.duration_s]]
    for one, other in zip(together, alone, strict=True):
        if isinstance(other, Failure):
            assert one == other and one.code == "bad_reference"
            continue
        assert isinstance(one, Result)
        assert one.fields == other.fields and samples(one).size == samples(other).size
        np.testing.assert_allclose(samples(one), samples(other), atol=1e-3)


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
