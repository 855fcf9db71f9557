"""What this machine is said to be able to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import wavemill
from transforms import models
from transforms.engine import ENGINES, engine_class
from transforms.operations import OPERATIONS
from transforms.settings import Settings


def call(*args: str) -> Result:
    return CliRunner().invoke(wavemill.root, args)


def facts(*args: str) -> list[dict[str, Any]]:
    answer = call(*args, "--json")
    assert answer.exit_code == 0, answer.stderr
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("WAVEMILL_MODELS_DIR", str(tmp_path))
    return tmp_path


def test_every_model_is_listed_with_licence_size_and_state(own_models: Path) -> None:
    rows = {row["id"]: row for row in facts("models", "list")}
    assert list(rows) == list(models.MODELS)
    assert {row["state"] for row in rows.values()} == {"missing"}
    assert all(row["licence"] for row in rows.values())
    assert rows["kokoro-int8"]["bytes"] == 92_361_271
    table = call("models", "list").stdout.splitlines()
    assert table[0].split()[:4] == ["ID", "ENGINE", "STATE", "BYTES"]
    assert len(table) == 1 + len(models.MODELS)
    assert "92.4 MB" in table[1]


def test_verify_hashes_what_is_here_and_exits_3_when_it_is_not_what_was_pulled(own_models: Path) -> None:
    assert call("models", "verify").stdout == ""
    source = Settings.model_fields["models_dir"].get_default(call_default_factory=True) / "whisper-tiny.en"
    if models.state("whisper-tiny.en", source.parent).status == "missing":
        pytest.skip("whisper-tiny.en is not on this machine")
    shutil.copytree(source, own_models / "whisper-tiny.en")
    assert call("models", "verify").stdout == "whisper-tiny.en: ok\n"
    vocabulary = own_models / "whisper-tiny.en" / "vocabulary.txt"
    vocabulary.write_bytes(vocabulary.read_bytes()[:-1] + b"x")
    answer = call("models", "verify")
    assert answer.exit_code == 3
    assert "weights_mismatch" in answer.stdout


def test_verify_of_a_model_that_is_not_here_exits_3(own_models: Path) -> None:
    answer = call("models", "verify", "whisper-base")
    assert answer.exit_code == 3
    assert "wavemill models pull whisper-base" in answer.stderr


def test_pull_refuses_an_unknown_name_before_it_fetches_any(own_models: Path) -> None:
    answer = call("models", "pull", "kokoro-int8", "kokoro-int9")
    assert answer.exit_code == 2
    assert "kokoro-int8" in answer.stderr
    assert not list(own_models.iterdir())


def test_every_engine_is_listed_with_the_default_of_each_operation() -> None:
    rows = facts("engines")
    assert {(row["operation"], row["engine"]) for row in rows} == {(op, name) for op, names in ENGINES.items() for name in names}
    assert {row["operation"]: row["engine"] for row in rows if row["default"]} == {
        name: row.default_engine for name, row in OPERATIONS.items()
    }
    assert {row["state"] for row in rows if row["default"] or not engine_class(row["operation"], row["engine"]).extra} == {"installed"}
    assert "100 languages" in call("engines").stdout
