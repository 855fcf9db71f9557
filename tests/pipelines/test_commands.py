"""The commands over an OUT, with the echo engine."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import wavemill
from pipelines import doctor
from pipelines.flags import collect_options, engine_flags
from transforms.engine import engine_class, engines
from transforms.operations import OPERATIONS, Operation
from transforms.options import plain_type


def call(*args: str | Path, input: str | None = None) -> Result:
    return CliRunner().invoke(wavemill.root, [str(arg) for arg in args], input=input)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published OUT of three rows, one of them failed."""
    folder = tmp_path_factory.mktemp("commands")
    source = folder / "rows.jsonl"
    rows = [{"id": "a", "sentence": "one"}, {"id": "b", "sentence": "two"}, {"id": "c", "sentence": "bad"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = folder / "job.yaml"
    options = "{format: mp3, fail_on: bad}"
    spec.write_text(f"operation: synthesize\nsource: {source}\nout: nowhere\nengine: echo\noptions: {options}\n")
    # the file names what to do, and the line wins over it
    done = call("run", "--spec", spec, "-o", folder / "out", "--columns", "text=sentence", "--format", "wav", "--json")
    assert done.exit_code == 1, done.stderr
    return folder / "out"


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=list(OPERATIONS))
def test_every_option_of_every_engine_is_a_flag_of_its_type_that_is_left_out_when_not_given(row: Operation) -> None:
    flags = {flag.name: flag for flag in engine_flags(row)}
    for engine in engines(row.name):
        model = engine_class(row.name, engine).Options
        for name in model.model_fields:
            flag = flags[f"option_{name}"]
            assert flag.opts == [f"--{name.replace('_', '-')}"]
            assert flag.help
            if plain_type(model, name) == "bool":
                assert flag.secondary_opts == [f"--no-{name.replace('_', '-')}"]
    assert collect_options(row, {**dict.fromkeys(flags), "pairs": ()}) == {}


def test_a_spec_file_and_the_line_make_one_spec(out: Path) -> None:
    stored = json.loads((out / "plan" / "plan.json").read_text())["spec"]
    assert stored["options"] == {"format": "wav", "fail_on": "bad"}
    assert stored["columns"] == {"text": "sentence"}
    assert stored["engine"] == "echo"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "synthesize"], "SOURCE is missing"),
        (["run", "synthesize", "in.txt"], "-o OUT is missing"),
        (["run", "--limit", "3"], "OPERATION comes first"),
        (["run", "synthesize", "in.txt", "-o", "x", "--columns", "text"], "key=value"),
        (["run", "synthesize", "in.txt", "-o", "x", "--max-failures", "few"], "max_failures"),
        (["run", "synthesize", "in.txt", "-o", "x", "--shard", "4/4"], "shard"),
        (["run", "synthesize", "in.txt", "-o", "x", "--workers", "0"], "--workers"),
        (["run", "synthesize", "in.txt", "-o", "x", "-e", "piper", "--delay-s", "1"], "delay_s"),
        (["run", "synthesize", "in.txt", "-o", "x", "--spec", "gone.yaml"], "gone.yaml"),
        (["join", "x", "-o", "story.txt"], "format"),
        (["status", "nothing-here"], "no OUT of wavemill"),
    ],
)
def test_bad_usage_exits_2_and_says_what_is_wrong(args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("one\n")
    answer = call(*args)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


@pytest.mark.parametrize(("text", "said"), [("source: in.txt\n", "operation"), ("operation: synthesize\nsourc: x\n", "sourc")])
def test_a_spec_file_that_lacks_or_misspells_a_field_exits_2_naming_it(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(text)
    answer = call("run", "--spec", tmp_path / "job.yaml", "-o", tmp_path / "out")
    assert answer.exit_code == 2
    assert f"bad_usage: {said}: " in answer.stderr


def test_a_plan_says_what_a_run_would_do_and_writes_nothing(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("text,speed,spead,note\nHello there,1.2,1,x\nSecond,1,1,y\n")
    command = ("plan", "synthesize", source, "-o", tmp_path / "out", "-e", "echo", "--workers", "2")
    said = call(*command)
    assert said.exit_code == 0, said.stderr
    for words in ("2 items in", "17 characters", "options", "speed", "carried", "note", "warning", "spead"):
        assert words in said.stdout
    facts = json.loads(call(*command, "--json").stdout)
    assert (facts["rows"], facts["wanted"], facts["done"], facts["weight"]) == (2, 2, 0, 17.0)
    assert (facts["option_columns"], facts["to_pull"]) == (["speed"], {})
    assert not (tmp_path / "out").exists()


def test_a_plan_names_the_weights_to_pull_and_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_MODELS_DIR", str(tmp_path / "models"))
    answer = call("plan", "synthesize", "-", "-o", tmp_path / "out", input="Hello there\n")
    assert "kokoro-int8 (92.4 MB)" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_a_plan_over_an_out_counts_what_is_done_and_failed(out: Path) -> None:
    spec = json.loads((out / "plan" / "plan.json").read_text())["spec"]
    options = [f"-O{name}={value}" for name, value in spec["options"].items()]
    facts = json.loads(
        call("plan", "synthesize", spec["source"], "-o", out, "-eecho", "--columns=text=sentence", *options, "--json").stdout
    )
    assert (facts["done"], facts["failed"], facts["wanted"]) == (2, {"engine_error": 1}, 0)


def test_status_counts_and_shows_failures(out: Path) -> None:
    said = call("status", out)
    assert said.exit_code == 0, said.stderr
    for words in ("2 of 3 rows", "1: 1 engine_error", "c: engine_error: echo was told to fail", f"wavemill replay {out}"):
        assert words in said.stdout
    facts = json.loads(call("status", out, "--json").stdout)
    assert facts["counts"]["failed"] == {"engine_error": 1}


def test_replay_tries_failures_again_and_says_how_it_ended(out: Path) -> None:
    answer = call("replay", out)
    assert answer.exit_code == 1
    assert "2 of 3 rows are done; this run worked 1 items" in answer.stderr
    assert answer.stdout == ""


def test_publish_judges_failures_as_the_run_did(out: Path) -> None:
    answer = call("publish", out, "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["done"] == 2


def test_export_names_files_for_people_and_refuses_collisions_before_any_copy(out: Path, tmp_path: Path) -> None:
    answer = call("export", out, tmp_path / "same", "--name", "clip.{ext}")
    assert (answer.exit_code, (tmp_path / "same").exists()) == (2, False)
    answer = call("export", out, tmp_path / "clips", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["files"]) == (0, 2)
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["a.wav", "b.wav"]


def test_join_refuses_an_out_with_failures(out: Path, tmp_path: Path) -> None:
    answer = call("join", out, "-o", tmp_path / "story.mp3")
    assert answer.exit_code == 2
    assert "wavemill replay" in answer.stderr


def test_clean_says_what_would_go(out: Path) -> None:
    answer = call("clean", out, "--dry-run")
    assert answer.exit_code == 0, answer.stderr
    assert "would drop 0 blobs" in answer.stdout


def test_doctor_has_a_line_for_each_thing_and_advice_for_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("WAVEMILL_HUB_TIMEOUT_S", "1")
    answer = call("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(answer.stdout)}
    assert {"python", "cores", "memory", "weights dir", "wavemill", "imports", "espeak", "hub", "pip", "npm", "java"} <= set(checks)
    assert not checks["weights"]["ok"]
    assert "wavemill models pull" in checks["weights"]["advice"]
    needed = [check["name"] for check in checks.values() if check["needed"] and not check["ok"]]
    assert answer.exit_code == (3 if needed else 0)


def test_doctor_takes_the_onnxruntime_of_a_gpu_for_the_other_but_not_none(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"onnxruntime-gpu": "1.31.1"}
    real = metadata.version

    def version(name: str) -> str:
        if not name.startswith("onnxruntime"):
            return real(name)
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(doctor, "NATIVE", ())
    packages = next(doctor._packages())
    assert packages.ok, packages
    there.clear()
    packages = next(doctor._packages())
    assert not packages.ok and packages.detail.endswith(", onnxruntime is missing")
