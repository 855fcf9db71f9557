"""Which engine the commands settle on, and what they say of those that are not here."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import wavemill
from tests.pipelines.batch.conftest import Runner
from transforms import codec
from transforms.engines.echo import EchoSpeech
from transforms.engines.kokoro_torch import KokoroTorch
from transforms.engines.piper import Piper
from transforms.options import AudioOptions
from transforms.records import Audio

GERMAN = "wavemill: kokoro has no de; the engine piper has it\n"
STREAM = ("stream", "synthesize", "--input", "in", "--output", "out", "--failures", "failed", "--group", "g")


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(wavemill.root, [str(arg) for arg in args])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with no weights and no program anywhere; in it two lines, a clip, and rows of both."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAVEMILL_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "lines.txt").write_text("Hallo.\nNoch einmal.\n")
    (tmp_path / "es.wav").write_bytes(codec.encode(Audio(np.zeros((1, 16000), np.float32), 16000), AudioOptions(format="wav")).data)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "Hallo.", "reference": "es.wav", "audio": "es.wav"}) + "\n")
    return tmp_path


@pytest.fixture
def runner(here: Path) -> Runner:
    return Runner(here, str(here / "out"))


def test_a_language_that_the_default_engine_lacks_is_spoken_by_the_engine_that_has_it_and_that_is_said(here: Path) -> None:
    answer = call("synthesize", "Hallo.", "--language", "de", "--no-pull")
    assert answer.exit_code == 3
    assert answer.stderr.startswith(f"{GERMAN}wavemill: model_missing: piper-de_DE-thorsten-medium is not in ")
    assert GERMAN not in call("synthesize", "Hallo.", "--language", "de", "--no-pull", "--quiet").stderr


def test_a_plan_and_a_run_settle_on_the_same_engine_also_by_what_a_spec_file_says(here: Path) -> None:
    (here / "job.yaml").write_text("operation: synthesize\nsource: lines.txt\nout: out\noptions: {language: de}\n")
    for given in (("--spec", "job.yaml"), ("synthesize", "lines.txt", "-o", "out", "-O", "language=de")):
        planned = call("plan", *given)
        assert (planned.exit_code, planned.stderr) == (0, GERMAN)
        assert "synthesize with piper" in planned.stdout and "piper-de_DE-thorsten-medium" in planned.stdout
    answer = call("run", "--spec", "job.yaml", "--no-pull")
    assert answer.exit_code == 3
    assert answer.stderr.startswith(GERMAN) and "model_missing: piper-de_DE" in answer.stderr


def test_a_stream_settles_on_it_too(here: Path) -> None:
    answer = call(*STREAM, "--language", "de", "--voice", "af_bella")
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"{GERMAN}wavemill: bad_usage: piper has no voice 'af_bella'")


@pytest.mark.parametrize("command", [("synthesize", "Hallo."), ("run", "synthesize", "lines.txt", "-o", "out"), STREAM])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--language", "tlh"), "no engine for synthesize has 'tlh'; there are ar, da, de, el, en,"),
        (("-e", "cosyvoice2"), "there are kokoro, kokoro-torch, piper, chatterbox"),
        (("-e", "kokorro"), "did you mean kokoro"),
        (("-e", "melotts"), "the engine sherpa runs it: --kind melotts --model-dir FOLDER"),
    ],
)
def test_what_nobody_has_is_refused_by_every_command_with_what_there_is(
    command: tuple[str, ...], given: tuple[str, ...], says: str, here: Path
) -> None:
    answer = call(*command, *given)
    assert answer.exit_code == 2
    assert answer.stderr.startswith("wavemill: model_unavailable: ") and says in answer.stderr
    assert not (here / "out").exists()


def test_a_models_name_is_its_engine_and_the_option_that_means_it(here: Path) -> None:
    answer = call("plan", "transcribe", "es.wav", "-o", "out", "-e", "whisper-small")
    assert answer.stderr == "wavemill: whisper-small is run by the engine faster-whisper, model small\n"
    assert "whisper-small (" in answer.stdout
    assert "whisper-base (" in call("plan", "transcribe", "es.wav", "-o", "out", "-e", "whisper").stdout
    assert "whisper-medium is not in" in call("transcribe", "es.wav", "-e", "medium", "--no-pull").stderr


def test_a_run_that_is_taken_up_again_keeps_its_engine_when_another_learns_the_language(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("run", "synthesize", "lines.txt", "-o", "out", "--language", "tlh", "--format", "wav", "--json")
    monkeypatch.setattr(EchoSpeech, "languages", ("tlh",))
    assert json.loads(call(*command).stdout)["made"] == 2
    stored = json.loads((here / "out/plan/plan.json").read_text())
    assert (stored["engine"], stored["spec"]["engine"]) == ("echo", "echo")
    monkeypatch.setattr(Piper, "languages", ("tlh",))
    assert "the engine piper has it" in call("plan", *command[1:3], "-o", "other", "--language", "tlh").stderr
    again = json.loads(call(*command).stdout)
    assert (again["rows"], again["made"]) == (2, 0)


def test_an_out_of_another_engine_does_not_move_what_the_default_engine_speaks(here: Path) -> None:
    assert call("run", "synthesize", "lines.txt", "-o", "out", "-e", "echo", "--format", "wav").exit_code == 0
    answer = call("plan", "synthesize", "lines.txt", "-o", "out", "--language", "es")
    assert "with kokoro" in answer.stdout and answer.stderr == ""


def test_a_row_in_a_language_that_the_engine_lacks_is_told_what_there_is_and_who_has_it(runner: Runner) -> None:
    runner.write([{"text": "Hallo.", "language": "de"}, {"text": "nuqneH", "language": "tlh"}])
    assert runner.run(engine="kokoro").failed == {"unsupported_language": 2}
    german, klingon = (row["detail"] for row in runner.manifest())
    assert german.startswith("Kokoro does not speak 'de'; it speaks en-us,") and german.endswith("; piper, chatterbox have it")
    assert klingon.endswith(", zh")


def test_an_engine_that_was_named_is_told_to_lack_a_language_with_who_has_it(here: Path) -> None:
    for command in (("synthesize", "Hallo."), ("run", "synthesize", "lines.txt", "-o", "out")):
        answer = call(*command, "-e", "kokoro", "--language", "de")
        assert answer.exit_code == 2
        assert answer.stderr.startswith("wavemill: bad_usage: Kokoro") and "; piper, chatterbox have it" in answer.stderr


NO_TORCH = pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed here")
TEXT_ENGINES = "Other text engines: mt.engine=ctranslate2, mt.engine=openai; into en the recognizer translates by itself"


@pytest.mark.parametrize("many", [False, True], ids=["one", "run"])
@pytest.mark.parametrize(
    ("operation", "flags", "says"),
    [
        ("translate", ("--to", "fr"), f"Apertium is not installed; on Debian: apt-get install apertium apertium-eng-spa. {TEXT_ENGINES}"),
        ("translate", ("--to", "fr", "-O", "mt.engine=openai"), "set WAVEMILL_TEXT_URL"),
        ("translate", ("--to", "en", "-O", "mt.engine=openai"), "mt.engine=apertium, mt.engine=ctranslate2; into en"),
        ("translate", ("--to", "en", "-O", "tts.engine=cosyvoice2"), "there are kokoro, kokoro-torch, piper"),
        ("convert-voice", ("--voice", "af_bella", "-O", "tts.engine=cosyvoice2"), "there are kokoro, kokoro-torch, piper"),
        ("transcribe", ("--model", "enormous"), "no model 'whisper-enormous'"),
        pytest.param("clone", ("--method", "fitted"), "or --method mix", marks=NO_TORCH),
    ],
)
def test_what_is_not_on_this_machine_is_unavailable_and_not_a_wrong_command(
    operation: str, flags: tuple[str, ...], says: str, many: bool, here: Path
) -> None:
    one = ("Hallo.", "--reference", "es.wav") if operation == "clone" else ("es.wav",)
    command = ("run", operation, "rows.jsonl", "-o", "out") if many else (operation, *one)
    answer = call(*command, *flags)
    assert answer.exit_code == 2
    assert answer.stderr.startswith("wavemill: model_unavailable: ") and says in answer.stderr
    assert not (here / "out/manifest.parquet").exists() and len(answer.stderr.splitlines()) == 1


TORCH = ("-e", "kokoro-torch")
STAGE = ("-O", "tts.engine=kokoro-torch")


@pytest.mark.parametrize(
    "command",
    [
        ("synthesize", "Hallo.", "-o", "out.wav", *TORCH),
        ("synthesize", "Hallo.", "-o", "out.wav", *TORCH, "--stream"),
        ("run", "synthesize", "lines.txt", "-o", "out", *TORCH),
        (*STREAM, *TORCH),
        ("convert-voice", "es.wav", "-o", "out.wav", *STAGE),
        ("run", "restyle", "rows.jsonl", "-o", "out", *STAGE),
    ],
    ids=" ".join,
)
def test_what_is_not_installed_is_told_before_weights_are_looked_for(
    command: tuple[str, ...], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command[0] == "stream":
        pytest.importorskip("kafka", reason="the extra kafka is not installed")
    monkeypatch.setattr(KokoroTorch, "requires", ("onnxruntime", "no_such_module.part", "torch_of_nobody"))
    answer = call(*command, "--no-pull")
    assert answer.exit_code == 3
    assert "wavemill: engine_unloadable: the engine kokoro-torch needs " in answer.stderr
    assert "no_such_module.part, torch_of_nobody, not installed here: pip install 'wavemill[torch]'" in answer.stderr
