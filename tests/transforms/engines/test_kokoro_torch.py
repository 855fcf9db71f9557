"""Kokoro by torch against Kokoro by onnxruntime: the same words, voice and length; and what it does where it cannot run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soxr

from transforms import kokoro_model, kokoro_weights, models, phonemes, speech, steps, voices
from transforms.engine import Engine, Place, engine_class
from transforms.engines.kokoro import Kokoro
from transforms.engines.kokoro_torch import KokoroTorch
from transforms.errors import WavemillError, kind
from transforms.pull import pull_all
from transforms.records import Audio, Failure, Input, Item, Piece, Result, Work
from transforms.settings import Settings

TEXTS = ("The keeper had not spoken to anyone for days.", "Good morning, the boat is late.")


def loaded(cls: type[Engine], **options: Any) -> Engine:
    settings = Settings()
    made = cls()
    pull_all(made.models(cls.Options.parse(options)), settings)
    made.load(Place("cpu", 1, settings.models_dir))
    return made


@pytest.fixture(scope="module")
def engine(torch_extra: None) -> Iterator[Engine]:
    made = loaded(KokoroTorch)
    yield made
    made.close()


def said(engine: Engine, text: str, **options: Any) -> np.ndarray:
    (outcome,) = engine.run([Piece({"text": text}, type(engine).Options.parse(options), 0)])
    assert isinstance(outcome, Result)
    audio: Audio = outcome.outputs["audio"]
    return audio.samples[0]


def envelope(samples: np.ndarray, parts: int = 50) -> np.ndarray:
    """Loudness in equal parts of its length, so that a length one percent off does not matter."""
    return np.array([np.sqrt(np.mean(np.square(part))) for part in np.array_split(samples, parts)])


def words(samples: np.ndarray) -> list[str]:
    whisper = loaded(engine_class("transcribe", "faster-whisper"), model="tiny.en")
    heard = Audio(soxr.resample(samples, 24000, 16000)[None], 16000)
    (outcome,) = whisper.run([Piece({"audio": heard}, type(whisper).Options.parse({"model": "tiny.en"}), 0)])
    assert isinstance(outcome, Result)
    return str(outcome.fields["text"]).lower().replace(",", "").strip(" .").split()


@pytest.mark.parametrize(("text", "voice"), [(TEXTS[0], "af_bella"), (TEXTS[1], "bm_george:0.6+bm_lewis:0.4")])
def test_it_says_what_the_graph_says_as_long_as_loud_and_in_the_same_words(engine: Engine, text: str, voice: str) -> None:
    own, graph = said(engine, text, voice=voice), said(loaded(Kokoro), text, voice=voice)
    assert len(own) == pytest.approx(len(graph), rel=0.02)
    assert np.corrcoef(envelope(own), envelope(graph))[0, 1] > 0.9
    assert np.std(own) == pytest.approx(np.std(graph), rel=0.25)
    assert words(own) == words(graph)


def test_speed_makes_speech_shorter(engine: Engine) -> None:
    assert len(said(engine, TEXTS[1], speed=2.0)) < 0.7 * len(said(engine, TEXTS[1]))


def test_each_word_is_told_when_another_model_hears_it(engine: Engine) -> None:
    options = KokoroTorch.Options.parse({"word_timestamps": True})
    (outcome,) = engine.run([Piece({"text": TEXTS[0]}, options, 0)])
    assert isinstance(outcome, Result)
    told, audio = outcome.fields["words"], outcome.outputs["audio"]
    assert [word["word"] for word in told] == TEXTS[0].split()
    whisper = loaded(engine_class("transcribe", "faster-whisper"), model="tiny.en")
    wanted = type(whisper).Options.parse({"model": "tiny.en", "timestamps": True})
    sound = Audio(soxr.resample(audio.samples[0], 24000, 16000)[None], 16000)
    (heard,) = whisper.run([Piece({"audio": sound}, wanted, 0)])
    assert isinstance(heard, Result)
    times = [word for segment in heard.fields["segments"] for word in segment["words"]]
    assert len(times) == len(told)
    inner = list(zip(told, times, strict=True))[1:]  # the other takes the silence before a text for a part of its first word
    assert max(abs(mine["start"] - its.start) for mine, its in inner) < 0.15
    audible, start = speech.trim(audio, speech.levels(audio))
    assert told[0]["start"] == pytest.approx(start / 24000, abs=0.1)
    assert told[-1]["end"] > start / 24000 + audible.duration_s - 0.1  # its own end may be too quiet to be heard
    assert "words" not in engine.run([Piece({"text": "One."}, KokoroTorch.Options(), 0)])[0].fields  # type: ignore[union-attr]


def holding(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """A model with memory for so many padded tokens at once; and how many it was given."""
    import torch

    given, speak = list[int](), kokoro_model.speak

    def short_of_memory(model: Any, ids: Any, *others: Any) -> Any:
        given.append(len(ids) * max(map(len, ids)))
        if given[-1] > most:
            raise torch.OutOfMemoryError("injected")
        return speak(model, ids, *others)

    monkeypatch.setattr(kokoro_model, "speak", short_of_memory)
    return given


@pytest.mark.extra("torch")
def test_a_sentence_that_memory_does_not_hold_is_said_in_parts_and_so_are_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = loaded(KokoroTorch)
    given = holding(monkeypatch, 80)
    text = "The keeper had not spoken to anyone for days, and he did not mind at all, as he told the boat, and the birds, and the wind that came from the sea."
    sound = said(fresh, text)
    assert max(given) > 120
    given.clear()
    heard = words(sound)
    assert [word for word in text.lower().replace(",", "").strip(".").split() if word not in heard] == []
    np.testing.assert_array_equal(said(fresh, text), sound)
    assert max(given) <= 80 and len(given) >= 2
    told = fresh.run([Piece({"text": text}, KokoroTorch.Options(word_timestamps=True), 0)])[0]
    assert isinstance(told, Result)
    assert [word["word"] for word in told.fields["words"]] == text.split()
    assert told.fields["words"][-1]["end"] > told.outputs["audio"].duration_s - 1
    fresh.close()


BATCH = ("Hi.", "...", "Yes, of course they did.", TEXTS[1])


@pytest.mark.extra("torch")
def test_pieces_of_a_batch_are_in_64_bits_what_they_are_alone_to_nine_digits() -> None:
    """So what differs in 32 bits is rounding."""
    import torch

    folder = Settings().models_dir
    model = kokoro_model.open_model(folder).double()
    spectrum = model.decoder.generator.stft.alone
    spectrum.window = spectrum.window.double()
    pack = voices.read_pack(voices.resolve("kokoro", "af_bella"), folder)
    ids = [[phonemes.ALPHABET[symbol] for symbol in phonemes.phonemes(text, "a")] for text in ("Hi.", "Yes, he did.")]
    given = [torch.tensor([0, *one, 0]) for one in ids]
    styles = torch.from_numpy(np.concatenate([pack[len(one) - 1] for one in ids])).double()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            alone = [kokoro_model.speak(model, [one], style[None], 1.1)[0] for one, style in zip(given, styles, strict=True)]
            together = kokoro_model.speak(model, given, styles, 1.1)
    finally:
        torch.set_default_dtype(before)
    for (samples, frames), (others, of_others) in zip(together, alone, strict=True):
        assert samples.dtype == torch.float64 and torch.equal(frames, of_others)
        assert len(samples) == int(frames.sum())
        torch.testing.assert_close(samples, others, rtol=0, atol=1e-9)


def test_pieces_of_a_batch_are_spoken_together_and_sound_as_they_do_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    options, given = KokoroTorch.Options(word_timestamps=True), holding(monkeypatch, 10**6)
    alone = [engine.run([Piece({"text": text}, options, 0)])[0] for text in BATCH]
    given.clear()
    together = engine.run([Piece({"text": text}, options, 0) for text in BATCH])
    assert len(given) == 1
    for one, other in zip(together, alone, strict=True):
        if isinstance(other, Failure):
            assert one == other and other.code == "empty_text"
            continue
        assert isinstance(one, Result)
        assert one.fields == other.fields, "each word is at the same time"
        own, its = one.outputs["audio"].samples, other.outputs["audio"].samples
        assert own.shape == its.shape
        assert np.square(own - its).mean() < 0.01 * np.square(its).mean()


@pytest.mark.extra("torch")
def test_a_gpu_is_given_several_pieces_at_once_and_a_processor_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    engines = {device: KokoroTorch() for device in ("cuda", "cpu")}
    for device, engine in engines.items():
        engine.load(Place(device, 1, Settings().models_dir))
    assert (engines["cuda"].max_batch, engines["cpu"].max_batch) == (8, 1)


@pytest.mark.extra("torch")
def test_a_batch_that_memory_does_not_hold_is_halved_and_later_ones_keep_to_what_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, texts = loaded(KokoroTorch), ["One, two.", "Three.", "Four, five, six.", "Seven."]
    fresh.max_batch, given = 4, holding(monkeypatch, 50)
    options = KokoroTorch.Options()
    work = [Work(Item("0" * 64, "a", "synthesize", "kokoro-torch", options, {}), [Piece({"text": text}, options, 0)]) for text in texts]
    for halved in (True, False):
        spoken = [one.payload.results[0] for one in steps.infer(list(work), fresh) if isinstance(one, Work)]
        lengths = [one.outputs["audio"].frames for one in spoken]
        assert len(lengths) == 4 and lengths[2] == max(lengths) and lengths[0] > max(lengths[1], lengths[3])
        assert (max(given) > 50) == halved and len(given) == (3 if halved else 2)
        given.clear()
    assert fresh.fits < 100
    fresh.close()


def test_out_of_memory_is_a_failure_that_another_run_may_not_have(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    holding(monkeypatch, 16)
    options = KokoroTorch.Options()
    items = [Item("0" * 64, "a", "synthesize", "kokoro-torch", options, {}) for _ in range(3)]
    texts = ("One.", TEXTS[0], "Two.")
    found = steps.infer([Work(item, [Piece({"text": text}, options, 0)]) for item, text in zip(items, texts, strict=True)], engine)
    assert [one.code if isinstance(one, Failure) else "said" for one in found] == ["said", "out_of_memory", "said"]
    assert kind("out_of_memory") == "transient"


def test_two_threads_at_once_load_one_model(engine: Engine) -> None:
    fresh = loaded(KokoroTorch)
    assert isinstance(fresh, KokoroTorch)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fresh._open(), range(2))
    assert first is second
    fresh.close()


def test_weights_that_are_not_all_there_are_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kokoro_weights.read(models.folder(kokoro_model.MODEL, Settings().models_dir) / "kokoro.onnx")
    del whole["bert_encoder.bias"]
    monkeypatch.setattr(kokoro_weights, "read", lambda path: whole)
    with pytest.raises(WavemillError, match=r"lacks \['bert_encoder.bias'\]") as caught:
        kokoro_model.open_model(Settings().models_dir)
    assert caught.value.code == "weights_mismatch"


def test_a_device_that_is_not_here_is_named(engine: Engine) -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("it is here")
    with pytest.raises(WavemillError, match="mps") as caught:
        KokoroTorch().load(Place("mps", 1, Settings().models_dir))
    assert (caught.value.code, caught.value.field) == ("engine_unloadable", "device")


def test_where_torch_is_not_installed_the_engine_says_which_extra_has_it() -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed here")
    with pytest.raises(WavemillError, match=r"wavemill\[torch\]") as caught:
        KokoroTorch().load(Place())
    assert caught.value.code == "engine_unloadable"


def test_the_voices_and_weights_are_those_of_kokoro() -> None:
    options: dict[str, Any] = {"voice": "af_bella:0.6+af_sky:0.4"}
    own, graph = KokoroTorch.Options.parse(options), Kokoro.Options.parse(options)
    assert KokoroTorch().weights(own) == Kokoro().weights(graph)
    assert KokoroTorch().models(own) == Kokoro().models(graph)
    with pytest.raises(WavemillError, match="nobody"):
        KokoroTorch().check(
            Item("0" * 64, "a", "synthesize", "kokoro-torch", KokoroTorch.Options(voice="nobody"), {"text": Input("text", "Hi.")})
        )
