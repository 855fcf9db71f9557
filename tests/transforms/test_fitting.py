"""Voices fitted to a reference: the encoder with a gradient, what is refused, and one real voice."""

from __future__ import annotations

import gc
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soxr

from transforms import fitting, kokoro_model, models, speakers, torch_file, voices
from transforms.engine import Place, engine_class
from transforms.engines.sessions import open_session
from transforms.errors import WavemillError
from transforms.pull import pull_all
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

MIX = voices.resolve("kokoro", "am_michael:0.55+am_liam:0.45")
SPOKEN = (
    "The clock above the mill had stopped a long time ago, and nobody in the village could say when.",
    "She took the lamp from the shelf and went down the stairs into the dark and silent kitchen.",
)
HELD_OUT = "The water is high, and the wheel will not turn before noon."


def place() -> Place:
    settings = Settings()
    pull_all(["kokoro-int8", "kokoro-voices", speakers.MODEL, "piper-en_US-joe-medium"], settings)
    return Place("cpu", 1, settings.models_dir)


@pytest.fixture
def one_thread(torch_extra: None) -> None:
    import torch

    torch.set_num_threads(1)  # its threads wait for each other busily, long where the cores are others' too


@pytest.fixture(scope="module")
def joe() -> Audio:
    """Nine seconds of a speaker that Kokoro does not have, at 24 kHz."""
    cls = engine_class("synthesize", "piper")
    piper = cls()
    piper.load(place())
    outcomes = piper.run([Piece({"text": text}, cls.Options(), 0) for text in SPOKEN])
    heard = [outcome.outputs["audio"] for outcome in outcomes if isinstance(outcome, Result)]
    return Audio(np.concatenate([soxr.resample(audio.samples[0], audio.rate_hz, 24000) for audio in heard])[None], 24000)


def at_16k(audio: Audio) -> Audio:
    return Audio(soxr.resample(audio.samples[0], audio.rate_hz, speakers.RATE_HZ)[None], speakers.RATE_HZ)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_the_encoder_with_a_gradient_hears_what_the_one_without_hears(joe: Audio, gain: float) -> None:
    import torch

    own, graph = fitting.TorchEncoder(place()), speakers.SpeakerEncoder(place())
    loud = Audio(joe.samples * np.float32(gain), joe.rate_hz)
    wanted = graph.embed(at_16k(loud))
    assert speakers.similarity(own.embed(torch.from_numpy(at_16k(loud).samples[0])).numpy(), wanted) > 0.9999
    assert speakers.similarity(own.embed_24k(torch.from_numpy(loud.samples[0])).numpy(), wanted) > 0.999


@pytest.mark.usefixtures("one_thread")
def test_torch_hears_in_the_weights_that_it_reads_itself_what_the_graph_hears(joe: Audio, tmp_path: Path) -> None:
    """Both encoders of ours read the file by our own reader, and would share its faults."""
    import torch

    row, heard = models.known(speakers.MODEL), at_16k(joe)
    path = models.folder(speakers.MODEL, place().models_dir) / row.files[0].name
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    read = torch_file.read_legacy(path, "model_state")
    assert set(read) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())
    lstm, linear = torch.nn.LSTM(speakers.MELS, speakers.SIZE, 3, batch_first=True), torch.nn.Linear(speakers.SIZE, speakers.SIZE)
    for module, prefix in ((lstm, "lstm."), (linear, "linear.")):
        module.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)})
    frames = torch.from_numpy(speakers.mels(heard)).unfold(0, speakers.WINDOW, 80).transpose(1, 2)
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(torch.relu(linear(lstm(frames)[1][0][-1])), dim=1).numpy()
    encoder = speakers.SpeakerEncoder(place())
    speakers.build_encoder(path, tmp_path / "encoder.onnx")  # the one that is here was built when it was pulled
    encoder._session = open_session(tmp_path / "encoder.onnx", place())
    np.testing.assert_allclose(encoder.embed_windows(heard, 80), wanted, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_voices_are_fitted_one_after_the_other_by_the_copy_of_kokoro_that_speaks(joe: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_model = list[str](), kokoro_model.open_model
    monkeypatch.setattr(kokoro_model, "open_model", lambda folder, device: opened.append(device) or open_model(folder, device))
    fit = fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda *given: fit(*given, steps=1))
    gc.collect()  # what other tests held
    cls = engine_class("synthesize", "kokoro-torch")
    speaks, embeds = cls(), engine_class("embed", "kokoro")()
    speaks.load(place())
    embeds.load(place())
    (said,) = speaks.run([Piece({"text": "One."}, cls.Options(), 0)])
    assert isinstance(said, Result)
    for frames in (at_16k(joe).samples, at_16k(joe).samples[:, :-1600]):
        (found,) = embeds.run([Piece({"audio": Audio(frames, speakers.RATE_HZ)}, embeds.Options.parse({"method": "fitted"}), 0)])
        assert isinstance(found, Result), found
        assert found.fields["method"] == "style fitted by gradient"
    assert opened == ["cpu"]
    speaks.close()
    embeds.close()
    gc.collect()
    fitting.hold(place())
    assert opened == ["cpu", "cpu"], "nobody held it any more"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
def test_a_seed_gives_the_same_pack_again_and_another_seed_another_one_near_the_mix(joe: Audio) -> None:
    stock = voices.read_pack(MIX, place().models_dir)
    wanted = speakers.SpeakerEncoder(place()).embed(at_16k(joe))
    one, again, other = (fitting.fit(wanted, MIX, place(), steps=2, seed=seed).pack for seed in (1, 1, 2))
    assert (one.shape, one.dtype) == ((510, 1, 256), np.float32)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0
    assert np.abs(one - stock).max() < 0.3


def test_where_torch_is_not_installed_fitting_says_which_extra_has_it() -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed here")
    with pytest.raises(WavemillError, match=r"wavemill\[torch\]") as caught:
        fitting.fit(np.ones(256, np.float32), MIX, Place())
    assert caught.value.code == "engine_unloadable"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fitted_voice_is_nearer_to_its_speaker_than_the_mix_on_a_sentence_it_was_not_fitted_with(joe: Audio) -> None:
    encoder = speakers.SpeakerEncoder(place())
    wanted = encoder.embed(at_16k(joe))
    cls = engine_class("synthesize", "kokoro")
    kokoro = cls()
    kokoro.load(place())

    def similarity(pack: np.ndarray) -> float:
        kokoro._pack = lambda mix: pack  # type: ignore[attr-defined]
        (outcome,) = kokoro.run([Piece({"text": HELD_OUT}, cls.Options.parse({"voice": "am_michael"}), 0)])
        assert isinstance(outcome, Result)
        return speakers.similarity(encoder.embed(at_16k(outcome.outputs["audio"])), wanted)

    fit = fitting.fit(wanted, MIX, place())
    before, after = similarity(voices.read_pack(MIX, place().models_dir)), similarity(fit.pack)
    assert after > before + 0.05
    assert fit.similarity == pytest.approx(after, abs=0.1)
