"""Piper: repeatable by its seed, on a graph that was made to take its noise from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms import models
from transforms.engine import Place
from transforms.engines.piper import NOISE, Piper, seed_graph
from transforms.errors import WavemillError
from transforms.pull import pull
from transforms.records import Audio, Input, Item, Piece, Result
from transforms.settings import Settings

MODEL = "piper-en_US-joe-medium"
TEXT = "The keeper of the light had not spoken for eleven days."


@pytest.fixture(scope="module")
def engine() -> Iterator[Piper]:
    settings = Settings()
    pull(MODEL, settings)
    made = Piper()
    made.load(Place("cpu", 1, settings.models_dir))
    yield made
    made.close()


def say(engine: Piper, text: str = TEXT, seed: int = 1, **options: Any) -> Audio:
    (outcome,) = engine.run([Piece({"text": text}, Piper.Options.parse(options), seed)])
    assert isinstance(outcome, Result)
    audio = outcome.outputs["audio"]
    assert isinstance(audio, Audio)
    return audio


def level(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio.samples**2)))


def test_one_seed_is_one_take_and_another_seed_is_another(engine: Piper) -> None:
    first, again, other = say(engine, seed=1), say(engine, seed=1), say(engine, seed=2)
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert other.duration_s == pytest.approx(first.duration_s, rel=0.15)
    assert level(other) == pytest.approx(level(first), rel=0.3)


def test_the_largest_seed_there_is_is_taken(engine: Piper) -> None:
    assert say(engine, seed=2**64 - 1).duration_s > 2


def test_the_seeded_graph_sounds_like_the_one_it_was_made_from(engine: Piper) -> None:
    import onnxruntime

    folder = models.folder(MODEL, Settings().models_dir)
    original = onnxruntime.InferenceSession(str(folder / "en_US-joe-medium.onnx"), providers=["CPUExecutionProvider"])
    speaker, seeded = engine._open("en_US-joe-medium")
    assert [given.name for given in seeded.get_inputs()][3:] == [f"{NOISE}0", f"{NOISE}1"]
    ids = speaker.phonemes_to_ids(speaker.phonemize(TEXT)[0])
    inputs = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([0, 1, 0], np.float32),
    }
    silent = {f"{NOISE}{n}": np.ones(3, np.float32) for n in (0, 1)}
    was, now = original.run(None, inputs)[0].reshape(-1), seeded.run(None, inputs | silent)[0].reshape(-1)
    assert was.shape == now.shape, "without noise the two are one"
    assert np.allclose(was, now, atol=1e-3)


def test_noise_that_runs_out_is_taken_over_again(engine: Piper) -> None:
    _, session = engine._open("en_US-joe-medium")
    inputs = {
        "input": np.array([[1, 0, 20, 0, 26, 0, 2]], np.int64),
        "input_lengths": np.array([7], np.int64),
        "scales": np.array([0.667, 1, 0.8], np.float32),
    }
    drawn = np.random.Generator(np.random.Philox(1)).standard_normal(100, dtype=np.float32)
    once = session.run(None, inputs | {f"{NOISE}{n}": drawn for n in (0, 1)})[0]
    thrice = session.run(None, inputs | {f"{NOISE}{n}": np.tile(drawn, 3) for n in (0, 1)})[0]
    assert np.array_equal(once, thrice)


def test_a_graph_is_seeded_the_same_every_time(tmp_path: Path) -> None:
    folder = models.folder(MODEL, Settings().models_dir)
    for name in ("once.onnx", "again.onnx"):
        seed_graph(folder / "en_US-joe-medium.onnx", tmp_path / name)
    assert (tmp_path / "once.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_speed_noise_and_rhythm_are_options(engine: Piper) -> None:
    usual = say(engine)
    assert say(engine, speed=2.0).duration_s < 0.7 * usual.duration_s
    assert say(engine, speed=0.5).duration_s > 1.5 * usual.duration_s
    calm = say(engine, seed=1, noise_scale=0.0, noise_w=0.0)
    assert np.array_equal(calm.samples, say(engine, seed=2, noise_scale=0.0, noise_w=0.0).samples), "no noise, no seed"


def test_sentences_of_one_piece_are_parted_by_the_pause(engine: Piper) -> None:
    without, with_pause = (say(engine, "One. Two. Three.", sentence_pause=pause) for pause in (0.0, 1.0))
    assert with_pause.frames - without.frames == 2 * 22050


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"voice": "en_US-jo-medium"}, "unknown_voice"),
        ({"voice": "en_US-joe-medium+de_DE-thorsten-medium"}, "bad_option"),
        ({"voice": "en_US-joe-medium", "language": "de"}, "unsupported_language"),
        ({"language": "tlh"}, "unsupported_language"),
        ({"language": "e"}, "unsupported_language"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_loaded(options: dict[str, Any], code: str) -> None:
    with pytest.raises(WavemillError) as caught:
        Piper().check(Item("0", "a", "synthesize", "piper", Piper.Options.parse(options), {"text": Input("text", "Hello.")}))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({}, "piper-en_US-joe-medium"),
        ({"language": "en"}, "piper-en_US-joe-medium"),
        ({"language": "de"}, "piper-de_DE-thorsten-medium"),
        ({"language": "pt_BR"}, "piper-pt_BR-faber-medium"),
        ({"voice": "es_ES-davefx-medium", "language": "es"}, "piper-es_ES-davefx-medium"),
    ],
)
def test_a_language_finds_a_voice_and_a_voice_its_model(options: dict[str, Any], model: str) -> None:
    assert Piper().models(Piper.Options.parse(options)) == (model,)
