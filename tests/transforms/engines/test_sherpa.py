"""sherpa-onnx: the real Piper and Kokoro weights spoken and heard again, the real Whisper, and a toy that stands for other models that hear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.words import word_errors
from pipelines.one import run_items
from tests.transforms.engines import sherpa_folders
from transforms import codec, vad
from transforms.engine import Place, engine_class
from transforms.engines import sherpa_models
from transforms.engines.sherpa_asr import LONGEST_S, SherpaTranscript
from transforms.engines.sherpa_tts import SherpaSpeech
from transforms.errors import WavemillError
from transforms.options import AudioOptions
from transforms.pull import pull
from transforms.records import Audio, Failure, Input, Item, Outcome, Piece, Result
from transforms.settings import Settings

TEXT = "The keeper of the light had not spoken."
PASSAGE = (
    "I will charge you nothing unless it works, and we went down the stairs into the kitchen.",
    "Every evening the keeper climbed the stairs, lit the lamp and sat down with a book.",
    "After that the children of the village came to visit him on Sundays, and in spring they painted his boat.",
)


@pytest.fixture(scope="module")
def folders(sherpa_extra: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sherpa")
    return {name: getattr(sherpa_folders, name)(root / name) for name in ("piper", "kokoro", "whisper", "hearing_toy")}


@pytest.fixture(scope="module")
def speaker(folders: dict[str, Path]) -> Iterator[SherpaSpeech]:
    made = SherpaSpeech()
    made.load(Place())
    yield made
    made.close()


def speak(speaker: SherpaSpeech, folder: Path, kind: str, text: str = TEXT, **options: Any) -> Outcome:
    (outcome,) = speaker.run([Piece({"text": text}, SherpaSpeech.Options.parse({"model_dir": str(folder), "kind": kind} | options), 0)])
    return outcome


def audio_of(outcome: Outcome) -> Audio:
    assert isinstance(outcome, Result), outcome
    audio = outcome.outputs["audio"]
    assert isinstance(audio, Audio)
    return audio


def heard(audio: Audio) -> str:
    """What Whisper hears, so that speech is known from noise."""
    import soxr

    listener = engine_class("transcribe", "faster-whisper")()
    options = listener.Options.parse({"model": "tiny.en"})
    for model in listener.models(options):
        pull(model, Settings())
    listener.load(Place(models_dir=Settings().models_dir))
    samples = soxr.resample(audio.samples[0], audio.rate_hz, 16000)[None].astype(np.float32)
    (outcome,) = listener.run([Piece({"audio": Audio(samples, 16000)}, options, 0)])
    assert isinstance(outcome, Result)
    return " ".join(str(outcome.fields["text"]).lower().strip(" .").split())


@pytest.mark.parametrize(("kind", "rate_hz"), [("piper", 22050), ("kokoro", 24000)])
def test_real_weights_say_what_is_written(kind: str, rate_hz: int, speaker: SherpaSpeech, folders: dict[str, Path]) -> None:
    audio = audio_of(speak(speaker, folders[kind], kind))
    assert audio.rate_hz == rate_hz
    assert heard(audio) == TEXT.lower().strip(".")


def test_speed_and_noise_are_options(speaker: SherpaSpeech, folders: dict[str, Path]) -> None:
    calm = {"noise_scale": 0, "noise_w": 0}
    usual, again, quick = (audio_of(speak(speaker, folders["piper"], "piper", **calm, speed=speed)) for speed in (1.0, 1.0, 2.0))
    assert np.array_equal(usual.samples, again.samples), "no noise, no chance"
    assert quick.duration_s < 0.7 * usual.duration_s
    lively = audio_of(speak(speaker, folders["piper"], "piper"))
    assert not np.array_equal(lively.samples, usual.samples)


def test_a_voice_is_the_number_of_a_speaker(speaker: SherpaSpeech, folders: dict[str, Path]) -> None:
    bella, adam = (audio_of(speak(speaker, folders["kokoro"], "kokoro", voice=voice)) for voice in ("0", "1"))
    assert not np.array_equal(bella.samples, adam.samples)
    outcome = speak(speaker, folders["kokoro"], "kokoro", voice="2")
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.detail) == ("unknown_voice", "this model's voices are 0 to 1")


def test_a_language_that_espeak_does_not_know_is_refused(speaker: SherpaSpeech, folders: dict[str, Path]) -> None:
    with pytest.raises(WavemillError, match=r"'tlh'; it speaks .* en-gb, .* es, ") as caught:
        speak(speaker, folders["piper"], "piper", language="tlh")
    assert caught.value.code == "unsupported_language"


def hears(folder: Path, audio: Audio, **options: Any) -> dict[str, Any]:
    listener = SherpaTranscript()
    listener.load(Place())
    (outcome,) = listener.run([Piece({"audio": audio}, SherpaTranscript.Options.parse({"model_dir": str(folder)} | options), 0)])
    listener.close()
    assert isinstance(outcome, Result)
    return dict(outcome.fields)


def said(speaker: SherpaSpeech, folder: Path, text: str, speed: float = 1.0) -> np.ndarray:
    """Piper's voice at 16 kHz, float32 of shape (frames,), the same every time."""
    import soxr

    spoken = audio_of(speak(speaker, folder, "piper", text, noise_scale=0, noise_w=0, speed=speed))
    samples: np.ndarray = soxr.resample(spoken.samples[0], spoken.rate_hz, 16000).astype(np.float32)
    return samples


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_the_real_whisper_writes_down_what_is_said_to_the_last_word_however_fast(
    speed: float, speaker: SherpaSpeech, folders: dict[str, Path]
) -> None:
    for text in (TEXT, PASSAGE[0]):
        fields = hears(folders["whisper"], Audio(said(speaker, folders["piper"], text, speed)[None], 16000), kind="whisper")
        assert word_errors([text], [fields["text"]]) == 0, fields["text"]
        assert fields["language"] == "en"


def test_speech_that_goes_on_for_longer_than_whisper_hears_at_once_is_parted(speaker: SherpaSpeech, folders: dict[str, Path]) -> None:
    alone = [Audio(said(speaker, folders["piper"], text)[None], 16000) for text in PASSAGE]
    voiced = [audio.samples[0, start : end - 1600] for audio in alone for start, end in vad.find_speech(audio)]
    audio = Audio(np.concatenate(voiced * 4)[None], 16000)
    ((start, end),) = vad.find_speech(audio)
    assert end - start > 40 * audio.rate_hz, "no pause parts it"
    fields = hears(folders["whisper"], audio, kind="whisper")
    assert word_errors([" ".join(PASSAGE * 4)], [fields["text"]]) < 0.1, fields["text"]
    lengths = [segment["end"] - segment["start"] for segment in fields["segments"]]
    assert 10 < max(lengths) <= LONGEST_S


def test_each_stretch_of_speech_is_a_segment_in_its_time_and_silence_is_none(speaker: SherpaSpeech, folders: dict[str, Path]) -> None:
    speech = said(speaker, folders["piper"], TEXT)
    silence = np.zeros(32000, np.float32)
    audio = Audio(np.concatenate([speech, silence, speech])[None], 16000)
    fields = hears(folders["hearing_toy"], audio)
    assert (fields["text"], fields["language"]) == ("hello hello", "en")
    assert fields["duration_s"] == audio.duration_s
    first, second = fields["segments"]
    assert first["end"] <= len(speech) / 16000 + 0.2
    assert second["start"] >= (len(speech) + 32000) / 16000 - 0.2
    nothing = hears(folders["hearing_toy"], Audio(silence[None], 16000))
    assert (nothing["text"], nothing["language"], nothing["segments"]) == ("", None, [])


def test_the_built_in_encoder_tells_the_speakers_of_its_segments_apart(
    speaker: SherpaSpeech, folders: dict[str, Path], tmp_path: Path
) -> None:
    import soxr

    texts = (
        f"{TEXT} The water is high today.",
        f"I will charge you nothing unless it works. {TEXT}",
        "We went down the stairs into the kitchen.",
    )
    said = [audio_of(speak(speaker, folders["kokoro"], "kokoro", text, voice=voice)) for text, voice in zip(texts, "010", strict=True)]
    pause = np.zeros(16000, np.float32)
    parts = [part for audio in said for part in (soxr.resample(audio.samples[0], audio.rate_hz, 16000), pause)]
    talk = Audio(np.concatenate(parts)[None].astype(np.float32), 16000)
    (tmp_path / "talk.wav").write_bytes(codec.encode(talk, AudioOptions(format="wav")).data)
    options = SherpaTranscript.Options.parse({"model_dir": str(folders["hearing_toy"]), "diarize": True})
    (outcome,) = run_items("transcribe", "sherpa", options, [{"audio": Input("uri", str(tmp_path / "talk.wav"))}], Settings())
    assert isinstance(outcome, Result), outcome
    assert outcome.fields["speakers"] == 2
    segments = json.loads(outcome.outputs["transcript"].data)["segments"]
    assert [name for name, _ in groupby(segment["speaker"] for segment in segments)] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]


@pytest.mark.parametrize(
    ("options", "field"), [({"timestamps": "true"}, "timestamps"), ({"task": "translate"}, "task"), ({"kind": "piper"}, "kind")]
)
def test_what_these_models_cannot_do_is_refused_before_anything_is_loaded(options: dict[str, Any], field: str, tmp_path: Path) -> None:
    folder = sherpa_folders.fake("sensevoice", tmp_path)
    parsed = SherpaTranscript.Options.parse({"model_dir": str(folder)} | options)
    with pytest.raises(WavemillError) as caught:
        SherpaTranscript().check(Item("0", "a", "transcribe", "sherpa", parsed, {"audio": Input("uri", "a.wav")}))
    assert (caught.value.code, caught.value.field) == ("bad_option", field)


def whisper_of(folder: Path, **metadata: str) -> Path:
    """A Whisper that is its encoder's metadata alone."""
    from onnx import helper, save

    model = helper.make_model(helper.make_graph([], "empty", [], []))
    helper.set_model_props(model, metadata)
    save(model, str(sherpa_folders.fake("whisper", folder) / "tiny-encoder.int8.onnx"))
    return folder


ENGLISH = {"is_multilingual": "0"}
MANY = {"is_multilingual": "1", "all_language_codes": "en,zh,de"}


@pytest.mark.parametrize(
    ("metadata", "options", "code", "told"),
    [
        (MANY, {"language": "zhh"}, "unsupported_language", "'zhh', but en, zh, de; did you mean zh"),
        (ENGLISH, {"language": "de"}, "unsupported_language", "'de', but en$"),
        (ENGLISH, {"task": "translate"}, "bad_option", "hears English only"),
        ({}, {}, "weights_mismatch", "lacks the metadata"),
    ],
)
def test_what_a_whisper_does_not_know_is_refused_before_anything_is_loaded(
    metadata: dict[str, str], options: dict[str, Any], code: str, told: str, tmp_path: Path
) -> None:
    check_whisper(whisper_of(tmp_path / "knows", **MANY), language="de", task="translate")
    check_whisper(whisper_of(tmp_path / "english", **ENGLISH), language="en")
    with pytest.raises(WavemillError, match=told) as caught:
        check_whisper(whisper_of(tmp_path / "lacks", **metadata), **options)
    assert caught.value.code == code


def test_metadata_is_found_behind_real_weights(folders: dict[str, Path]) -> None:
    check_whisper(folders["whisper"])
    with pytest.raises(WavemillError, match="English only"):
        check_whisper(folders["whisper"], task="translate")


def check_whisper(folder: Path, **options: Any) -> None:
    parsed = SherpaTranscript.Options.parse({"model_dir": str(folder), "kind": "whisper"} | options)
    SherpaTranscript().check(Item("0", "a", "transcribe", "sherpa", parsed, {"audio": Input("uri", "a.wav")}))


@pytest.mark.parametrize(("task", "joined"), [("translate", "Good day. Good day."), ("transcribe", "Good day.Good day.")])
def test_what_is_translated_is_joined_as_english_is_whatever_was_heard(task: str, joined: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        result = SimpleNamespace(text=" Good day.", lang="<|zh|>")

        def accept_waveform(self, rate_hz: int, samples: np.ndarray) -> None:
            assert len(samples) > rate_hz

    recognizer = SimpleNamespace(create_stream=Stream, decode_streams=lambda streams: None)
    monkeypatch.setattr(SherpaTranscript, "_open", lambda engine, options: recognizer)
    monkeypatch.setattr(vad, "find_speech", lambda audio, max_speech_s: [(0, 16000), (48000, 64000)])
    options = SherpaTranscript.Options.parse({"model_dir": "m", "kind": "whisper", "task": task})
    found = SherpaTranscript()._hear(Audio(np.zeros((1, 80000), np.float32), 16000), options)
    assert (found.fields["text"], found.fields["language"]) == (joined, "zh")


def test_another_device_than_the_cpu_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(WavemillError, match="cuda") as caught:
        SherpaSpeech().load(Place("cuda"))
    assert caught.value.code == "engine_unloadable"


@pytest.mark.extra("sherpa")
@pytest.mark.parametrize("speakers", [2, -1])
def test_diarization_finds_who_sounds_when_and_how_many_there_are(speakers: int, tmp_path: Path) -> None:
    import sherpa_onnx

    config = sherpa_models.telling_apart(str(sherpa_folders.telling_toy(tmp_path)), speakers)
    assert config.validate()
    times = np.arange(4 * 16000) / 16000
    low, high = (0.3 * np.sin(2 * np.pi * hz * times) for hz in (150, 3000))
    pause = np.zeros(16000)
    found = sherpa_onnx.OfflineSpeakerDiarization(config).process(np.concatenate([low, pause, high, pause, low]).astype(np.float32))
    turns = found.sort_by_start_time()
    assert [turn.speaker for turn in turns] == [0, 1, 0]
    assert [turn.start for turn in turns] == pytest.approx([0, 5, 10], abs=0.1)
    assert [turn.end for turn in turns] == pytest.approx([4, 9, 14], abs=0.1)
