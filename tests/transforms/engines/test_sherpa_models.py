"""The table of sherpa's models: which files are taken, what is refused, and the configuration that is built of each kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.transforms.engines.sherpa_folders import NAMES, fake
from transforms.engines import diarizing, sherpa_asr, sherpa_models, sherpa_tts
from transforms.engines.sherpa_models import KINDS
from transforms.errors import WavemillError

SPEAKING = [name for name, row in KINDS.items() if row.operation == "synthesize"]
HEARING = [name for name, row in KINDS.items() if row.operation == "transcribe"]


@pytest.mark.parametrize("name", KINDS)
def test_the_files_of_each_kind_are_found_under_the_names_that_their_publishers_give_them(name: str, tmp_path: Path) -> None:
    found = sherpa_models.find(KINDS[name], str(fake(name, tmp_path)))
    assert set(found) == set(KINDS[name].files)
    assert len(set(found.values())) == len(found)
    assert {path.name for path in found.values()} | {path.name for path in sherpa_models.rules(KINDS[name], str(tmp_path))} == {
        *NAMES[name]
    }


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, row in KINDS.items() for field in row.files])
def test_a_file_that_a_folder_lacks_is_named(name: str, field: str, tmp_path: Path) -> None:
    found = sherpa_models.find(KINDS[name], str(fake(name, tmp_path)))
    found[field].unlink()
    with pytest.raises(WavemillError, match=f"has no {field}: no file named {KINDS[name].files[field][0].replace('*', '.')}") as caught:
        sherpa_models.find(KINDS[name], str(tmp_path))
    assert (caught.value.code, caught.value.field) == ("model_missing", "model_dir")


@pytest.mark.parametrize(
    ("operation", "kind", "folder", "code", "said"),
    [
        ("synthesize", "piper", "", "bad_option", "needs the folder"),
        ("synthesize", "piper", "/nowhere", "model_missing", "no folder /nowhere"),
        ("synthesize", "pipr", "/nowhere", "bad_option", "did you mean piper"),
        ("transcribe", "piper", "/nowhere", "bad_option", "sensevoice, paraformer, whisper"),
    ],
)
def test_what_is_no_folder_and_no_kind_is_refused(operation: str, kind: str, folder: str, code: str, said: str) -> None:
    with pytest.raises(WavemillError, match=said) as caught:
        sherpa_models.find(sherpa_models.kind_of(operation, kind), folder)
    assert caught.value.code == code


def test_a_model_is_another_when_a_byte_of_it_is_another(tmp_path: Path) -> None:
    folder = fake("kokoro", tmp_path)
    before = sherpa_models.identity("kokoro", "synthesize", str(folder))
    (folder / "README.md").write_text("is not read")
    assert sherpa_models.identity("kokoro", "synthesize", str(folder)) == before
    written = (folder / "voices.bin").read_bytes()
    (folder / "voices.bin").write_bytes(written[:-1] + b"x")
    os.utime(folder / "voices.bin", ns=(1, 1))
    changed = sherpa_models.identity("kokoro", "synthesize", str(folder))
    assert changed.startswith("sherpa-kokoro@sha256:") and changed != before
    (folder / "voices.bin").write_bytes(written)
    assert sherpa_models.identity("kokoro", "synthesize", str(folder)) == before, "the same bytes are the same model at any time"
    (folder / "model.int8.onnx").rename(folder / "model.onnx")
    assert sherpa_models.identity("kokoro", "synthesize", str(folder)) != before


def test_a_file_that_was_not_touched_is_hashed_once(tmp_path: Path) -> None:
    folder = fake("piper", tmp_path)
    sherpa_models.identity("piper", "synthesize", str(folder))
    before = sherpa_models._digest.cache_info()
    sherpa_models.identity("piper", "synthesize", str(folder))
    after = sherpa_models._digest.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 2)


@pytest.mark.extra("sherpa")
@pytest.mark.parametrize("name", SPEAKING)
def test_the_configuration_of_a_kind_that_speaks_has_its_files_in_their_fields(name: str, tmp_path: Path) -> None:
    folder, row = fake(name, tmp_path), KINDS[name]
    config = sherpa_models.speaking(name, str(folder), noise_scale=0.25, noise_scale_w=None)
    family = getattr(config.model, row.family)
    for field, path in sherpa_models.find(row, str(folder)).items():
        assert getattr(family, field) == str(path)
    others = {"vits", "matcha", "kitten", "kokoro"} - {row.family}
    assert not any(getattr(other, "tokens", "") for other in (getattr(config.model, name) for name in others))
    assert getattr(family, "noise_scale", 0.25) == 0.25
    assert config.model.num_threads == 1
    assert config.rule_fsts == (f"{folder}/date.fst,{folder}/number.fst" if name == "melotts" else "")


@pytest.mark.extra("sherpa")
@pytest.mark.parametrize("name", HEARING)
def test_the_configuration_of_a_kind_that_hears_has_its_files_in_their_fields(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sherpa_onnx import offline_recognizer

    monkeypatch.setattr(offline_recognizer, "_Recognizer", lambda config: config)  # it would read the files
    folder, row = fake(name, tmp_path), KINDS[name]
    config = sherpa_asr.hearing(name, str(folder), "ja", "transcribe").config
    family = getattr(config.model_config, row.family)
    found = sherpa_models.find(row, str(folder))
    for field, path in found.items():
        holder = config.model_config if field == "tokens" else family
        assert getattr(holder, "model" if field == "paraformer" else field) == str(path)
    assert getattr(family, "language", "ja") == "ja"
    assert config.model_config.num_threads == 1


@pytest.mark.extra("sherpa")
def test_the_configuration_of_diarization_has_both_models_and_the_number_of_speakers(tmp_path: Path) -> None:
    config = sherpa_models.telling_apart(str(fake("pyannote", tmp_path)), 3)
    assert config.segmentation.pyannote.model == str(tmp_path / "model.onnx")
    assert Path(config.embedding.model).name.startswith("3dspeaker")
    assert config.clustering.num_clusters == 3


@pytest.mark.parametrize(
    ("name", "said"), [("piper", "dˈeɪ"), ("matcha", "dˈeɪ"), ("kitten", "dˈeɪ"), ("kokoro", "dˈA"), ("melotts", None)]
)
def test_a_model_without_a_lexicon_is_given_the_phonemes_it_was_trained_on(name: str, said: str | None, tmp_path: Path) -> None:
    options = sherpa_tts.SherpaSpeech.Options.parse({"model_dir": str(fake(name, tmp_path)), "kind": name})
    assert sherpa_tts._phonemes("day", options, "en-us") == said


def test_a_lexicon_in_the_folder_comes_before_phonemes_of_ours(tmp_path: Path) -> None:
    (fake("piper", tmp_path) / "lexicon.txt").write_text("day d\n")
    options = sherpa_tts.SherpaSpeech.Options.parse({"model_dir": str(tmp_path), "kind": "piper"})
    assert sherpa_tts._phonemes("day", options, "en-us") is None


def test_each_kind_is_told_to_the_user_with_how_it_was_tried() -> None:
    page = (Path(__file__).parents[3] / "docs" / "limits.md").read_text()
    shown = [line for line in page.partition("## Models of sherpa-onnx")[2].splitlines() if line.startswith("| ")]
    for line, (name, row) in zip(shown[2:], KINDS.items(), strict=True):
        files = "; ".join(", ".join(f"`{pattern}`" for pattern in patterns) for patterns in row.files.values())
        assert line == f"| {row.operation} | {name} | {files} | {row.checked} |"
    told = {
        "synthesize": sherpa_tts.SherpaSpeech.Options.model_fields["kind"].description,
        "transcribe": sherpa_asr.SherpaTranscript.Options.model_fields["kind"].description,
        "diarize": diarizing.Options.model_fields["diarize_models"].description,
    }
    for name, row in KINDS.items():
        kinds = [group for group in str(told[row.operation]).replace(": ", "; ").split("; ") if f"({row.checked})" in group]
        assert any(name in group for group in kinds), name
