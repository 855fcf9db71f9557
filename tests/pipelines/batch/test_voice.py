"""Clone, convert-voice, restyle, translate, chat and embed through the pipeline and from the command line, with their default engines."""

from __future__ import annotations

import json
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

import wavemill
from tests.pipelines.batch.conftest import SETTINGS, Runner
from transforms import codec
from transforms.engine import Place, engine_class
from transforms.engines import apertium
from transforms.errors import WavemillError
from transforms.options import AudioOptions
from transforms.pull import pull
from transforms.records import Audio, Item, Piece, Result
from transforms.settings import Settings
from transforms.speakers import MODEL
from transforms.voice_library import library

TEXT = "The harbour was quiet that morning. Two boats came in slowly, and an old man waved at them from the pier."


def write(path: Path, audio: Audio) -> Path:
    path.write_bytes(codec.encode(audio, AudioOptions(format="wav")).data)
    return path


@pytest.fixture(scope="module")
def joe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice that is not Kokoro's."""
    settings = Settings()
    for model in ("kokoro-int8", "kokoro-voices", "piper-en_US-joe-medium", "whisper-base", "smollm2-135m", MODEL):
        pull(model, settings)
    cls = engine_class("synthesize", "piper")
    engine = cls()
    engine.load(Place("cpu", 1, settings.models_dir))
    (spoken,) = engine.run([Piece({"text": TEXT}, cls.Options(), 0)])
    assert isinstance(spoken, Result)
    return write(tmp_path_factory.mktemp("voice") / "joe.wav", spoken.outputs["audio"])


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cls = engine_class("synthesize", "kokoro")
    engine = cls()
    engine.load(Place("cpu", 1, Settings().models_dir))
    (spoken,) = engine.run([Piece({"text": "What is the capital of France?"}, cls.Options(), 0)])
    assert isinstance(spoken, Result)
    return write(tmp_path_factory.mktemp("question") / "question.wav", spoken.outputs["audio"])


def told(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says, in columns and fields."""
    return {**json.loads(row["fields"]), **row}


def words(path: str | Path) -> list[str]:
    answer = CliRunner().invoke(wavemill.root, ["transcribe", str(path), "-o", "-", "--quiet"])
    assert answer.exit_code == 0, answer.output
    return "".join(c for c in answer.stdout.lower() if c.isalpha() or c.isspace()).split()


@pytest.mark.slow
def test_a_run_clones_the_voice_of_each_row_and_a_bad_reference_costs_its_row(runner: Runner, joe: Path) -> None:
    silent = write(runner.folder / "silent.wav", Audio(np.zeros((1, 80000), np.float32), 16000))
    rows: list[dict[str, Any] | str] = [
        {"id": "good", "text": "I have never said this before.", "reference": str(joe)},
        {"id": "silent", "text": "Nobody.", "reference": str(silent)},
        {"id": "none", "text": "Nobody."},
        {"id": "gone", "text": "Nobody.", "reference": "gone.wav"},
        {"id": "both", "text": "Nobody.", "reference": str(joe), "voice": "af_bella"},
    ]
    runner.write(rows)
    summary = runner.run(operation="clone", engine="kokoro")
    assert summary.failed == {"bad_reference": 1, "bad_row": 1, "input_not_found": 1, "bad_option": 1}
    good = runner.manifest()[0]
    fields = json.loads(good["fields"])
    assert fields["method"] == "nearest mix of stock voices"
    assert "+" in fields["voice"] and fields["similarity"] > 0.7
    with av.open(good["uri"]) as file:
        assert "synthetic" in file.metadata["comment"]
    assert words(good["uri"]) == ["i", "have", "never", "said", "this", "before"]
    assert runner.run(operation="clone", engine="kokoro").made == 0


@pytest.mark.slow
def test_a_converted_voice_says_the_same_words_at_the_same_times(runner: Runner, joe: Path) -> None:
    runner.write(
        [
            {"id": "named", "audio": str(joe), "voice": "bm_fable"},
            {"id": "fitted", "audio": str(joe), "target": str(joe)},
            {"id": "whose", "audio": str(joe)},
        ]
    )
    summary = runner.run(operation="convert_voice", engine="cascade")
    assert (summary.done, summary.failed) == (2, {"bad_option": 1})
    length = codec.decode(joe, None, None, 60.0).duration_s
    for row in runner.manifest()[:2]:
        assert row["duration_s"] == pytest.approx(length, rel=0.08)
        assert len(set(words(row["uri"])) ^ set(words(joe))) <= 4
    assert "provenance" not in json.loads(runner.manifest()[0]["fields"])


@pytest.mark.slow
def test_a_sad_voice_is_slower_and_quieter_than_an_excited_one(runner: Runner, joe: Path) -> None:
    runner.write([{"audio": str(joe), "emotion": emotion, "format": "wav"} for emotion in ("sad", "excited")])
    assert runner.run(operation="restyle", engine="cascade").done == 2
    sad, excited = (codec.decode(Path(row["uri"]), None, None, 60.0) for row in runner.manifest())
    assert sad.duration_s > 1.15 * excited.duration_s
    assert np.sqrt(np.mean(sad.samples**2)) < 0.8 * np.sqrt(np.mean(excited.samples**2))


@pytest.mark.slow
def test_a_voice_is_found_once_and_used_by_name(joe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(wavemill.root, ["embed", str(joe), "-o", "joe.json", "--quiet"])
    assert answer.exit_code == 0, answer.output
    voice = json.loads((tmp_path / "joe.json").read_text())
    assert len(voice["embedding"]) == 256
    answer = CliRunner().invoke(wavemill.root, ["synthesize", "It speaks.", "--voice", voice["voice"], "-o", "a.wav", "--quiet"])
    assert answer.exit_code == 0, answer.output
    with av.open("a.wav") as file:
        assert "synthetic" in file.metadata["comment"]
    shown = json.loads(CliRunner().invoke(wavemill.root, ["embed", str(joe), "--quiet"]).stdout)
    assert shown == {name: voice[name] for name in shown} and "embedding" not in shown


def test_an_input_that_may_be_left_out_changes_who_an_item_is(runner: Runner) -> None:
    from pipelines.batch import plan as plans

    runner.write([{"audio": "a.wav", "voice": "af_bella"}, {"audio": "a.wav", "voice": "af_bella", "target": "b.wav"}, {"target": "b.wav"}])
    plan = plans.make(runner.spec(operation="convert_voice", engine="cascade"), SETTINGS, runner.store, runner.folder)
    assert (plan.rows, plan.refused, sum(ref.rows for ref in plan.refs)) == (3, {"bad_row": 1}, 2)


def test_a_row_whose_stage_has_no_such_engine_costs_itself(runner: Runner) -> None:
    from pipelines.batch import plan as plans

    runner.write([{"audio": "a.wav", "voice": "af_bella", "tts.engine": "pipr"}, {"audio": "a.wav", "voice": "af_bella"}])
    plan = plans.make(runner.spec(operation="convert_voice", engine="cascade"), SETTINGS, runner.store, runner.folder)
    assert (plan.rows, plan.refused) == (2, {"bad_option": 1})


@pytest.mark.slow
def test_spanish_speech_becomes_english_speech_of_the_same_length(runner: Runner) -> None:
    cls = engine_class("synthesize", "kokoro")
    engine = cls()
    engine.load(Place("cpu", 1, Settings().models_dir))
    text = "La reunión empieza mañana por la mañana en la oficina central de Madrid."
    (spoken,) = engine.run([Piece({"text": text}, cls.Options.parse({"voice": "ef_dora"}), 0)])
    assert isinstance(spoken, Result)
    source = write(runner.folder / "es.wav", spoken.outputs["audio"])
    rows = [{"audio": str(source)}, {"audio": str(source), "preserve_voice": True}, {"audio": str(source), "mt.engine": "echo"}]
    runner.write([*rows, {"audio": str(source), "to": "xx", "mt.engine": "echo"}])
    summary = runner.run(operation="translate", engine="cascade")
    assert (summary.done, summary.failed) == (3, {"unsupported_language": 1})
    by_text = told(runner.manifest()[2])
    assert by_text["text"].startswith("[en] ") and by_text["source_text"] in by_text["text"]
    for row in runner.manifest()[:2]:
        assert {"meeting", "madrid"} <= set(words(row["uri"]))
        assert json.loads(row["fields"])["source_language"] == "es"
        assert row["duration_s"] == pytest.approx(spoken.outputs["audio"].duration_s, rel=0.25)
    assert json.loads(runner.manifest()[1]["fields"])["voice"] != json.loads(runner.manifest()[0]["fields"])["voice"]


@pytest.mark.slow
def test_english_speech_becomes_spanish_speech_at_the_times_of_the_source(runner: Runner, joe: Path) -> None:
    if which("apertium") is None or "eng-spa" not in apertium.installed():
        pytest.skip("translating into Spanish needs apertium with eng-spa")
    runner.write([{"audio": str(joe), "to": "es"}, {"audio": str(joe), "to": "en", "language": "en", "mt.engine": "apertium"}])
    summary = runner.run(operation="translate", engine="cascade")
    assert (summary.done, summary.failed) == (2, {})
    spanish, same = map(told, runner.manifest())
    assert (spanish["source_language"], spanish["language"]) == ("en", "es")
    assert {"boats", "morning"} <= set(spanish["source_text"].lower().replace(",", " ").replace(".", " ").split())
    assert len({"puerto", "barcos", "hombre", "viejo", "mañana", "dos"} & set(words(runner.manifest()[0]["uri"]))) >= 3
    assert runner.manifest()[0]["duration_s"] == pytest.approx(codec.decode(joe, None, None, 60.0).duration_s, rel=0.3)
    assert same["text"] == same["source_text"]


def test_without_a_text_engine_speech_goes_into_english_alone(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(runner.folder))
    translate = engine_class("translate", "cascade")
    for values, code in (({}, None), ({"to": "es"}, "model_unavailable"), ({"to": "es", "mt.engine": "openai"}, "model_unavailable")):
        item = Item("", "", "translate", "cascade", translate.Options.parse(values), {})
        with pytest.raises(WavemillError) if code else nullcontext() as caught:
            translate().check(item)
        assert code is None or (caught and caught.value.code == code)


@pytest.mark.slow
def test_a_question_asked_aloud_or_in_writing_is_answered_aloud(runner: Runner, question: Path) -> None:
    said = [{"role": "user", "content": "The capital of France is Paris."}, {"role": "assistant", "content": "Yes, Paris is the capital."}]
    quick = {"llm.max_tokens": 24, "system": "Answer in one short sentence."}
    rows: list[dict[str, Any] | str] = [
        {"id": "aloud", "audio": str(question), **quick},
        {"id": "written", "text": "What is the capital of France?", **quick, "voice": "bm_george"},
        {"id": "later", "text": "Which city is it?", "messages": said, **quick},
        {"id": "both", "audio": str(question), "text": "Hello", **quick},
        {"id": "none"},
    ]
    runner.write(rows)
    summary = runner.run(operation="chat", engine="cascade")
    assert (summary.done, summary.failed) == (3, {"bad_row": 2})
    aloud, written, later = map(told, runner.manifest()[:3])
    assert "capital of france" in aloud["source_text"].lower()
    assert "paris" in aloud["text"].lower() and "paris" in written["text"].lower() and "paris" in later["text"].lower()
    assert "paris" in words(runner.manifest()[1]["uri"])


@pytest.mark.extra("torch")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fitted_voice_is_kept_and_used_again_at_once(runner: Runner, joe: Path) -> None:
    runner.write([{"text": "It speaks.", "reference": str(joe)}])
    assert runner.run(operation="clone", engine="kokoro").done == 1
    fields = json.loads(runner.manifest()[0]["fields"])
    assert fields["method"] == "style fitted by gradient"
    kept = library().find(fields["voice"])
    assert kept.similarity > 0.75
    answer = CliRunner().invoke(wavemill.root, ["synthesize", "It speaks.", "--voice", kept.id, "-o", str(runner.folder / "a.wav")])
    assert answer.exit_code == 0, answer.output


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed here")
@pytest.mark.parametrize(("operation", "engine"), [("embed", "kokoro"), ("clone", "kokoro"), ("restyle", "cascade")])
def test_without_torch_a_fit_that_is_asked_for_is_refused_at_once(operation: str, engine: str) -> None:
    cls = engine_class(operation, engine)
    with pytest.raises(WavemillError) as caught:
        cls().check(Item("", "", operation, engine, cls.Options.parse({"method": "fitted"}), {}))
    assert (caught.value.code, caught.value.field) == ("model_unavailable", "method")
