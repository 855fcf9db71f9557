"""CTranslate2 on a real model of random numbers: which files it takes, what it tells the model, and who the model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.transforms.engines import tiny_translator
from transforms.engine import Place
from transforms.engines import ctranslate2_text
from transforms.engines.ctranslate2_text import CTranslate2, CTranslate2Options
from transforms.errors import WavemillError
from transforms.records import Item, Piece, Result

pytest.importorskip("sentencepiece")


def options(folder: Path, **more: Any) -> CTranslate2Options:
    return CTranslate2Options.parse({"to": "es", "model_dir": str(folder), **more})


def translate(folder: Path, text: str, **more: Any) -> str:
    engine = CTranslate2()
    engine.load(Place())
    (outcome,) = engine.run([Piece({"text": text}, options(folder, **more), 0)])
    engine.close()
    assert isinstance(outcome, Result)
    found: str = outcome.fields["text"]
    return found


def test_a_text_goes_through_the_model_and_comes_out_the_same_every_time() -> None:
    folder = tiny_translator.made()
    text = translate(folder, "The boat is late. We wait.")
    assert text
    assert text == translate(folder, "The boat is late. We wait.")
    assert text != translate(folder, "Hello world.")


def test_each_sentence_is_translated_by_itself() -> None:
    folder = tiny_translator.made()
    both = translate(folder, "The boat is late here. We wait for it here.")
    assert both == f"{translate(folder, 'The boat is late here.')} {translate(folder, 'We wait for it here.')}"


def test_a_model_of_argos_has_its_words_above_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    tiny_translator.make(tmp_path / "model", names=("sentencepiece.model",))
    (tmp_path / "model" / "sentencepiece.model").rename(tmp_path / "sentencepiece.model")
    assert translate(tmp_path, "Hello world.")


def test_a_model_of_many_languages_is_told_both_and_its_answer_does_not_name_them(tmp_path: Path) -> None:
    tiny_translator.make(tmp_path, ("eng_Latn", "spa_Latn", "fra_Latn"), ("sentencepiece.bpe.model",))
    vocabulary = ctranslate2_text._vocabulary(tmp_path)
    assert ctranslate2_text._orders(vocabulary, options(tmp_path, to="fr")) == (["eng_Latn"], ["fra_Latn"])
    assert ctranslate2_text._orders(vocabulary, options(tmp_path, source="spa_Latn", to="en")) == (["spa_Latn"], ["eng_Latn"])
    assert "Latn" not in translate(tmp_path, "Hello world.")
    with pytest.raises(WavemillError) as caught:
        translate(tmp_path, "Hello world.", to="tlh")
    assert (caught.value.code, caught.value.field) == ("unsupported_language", "to")
    assert "eng_Latn, fra_Latn, spa_Latn" in caught.value.detail


def test_a_model_into_several_languages_is_told_which(tmp_path: Path) -> None:
    tiny_translator.make(tmp_path, (">>fra<<", ">>spa<<"))
    vocabulary = ctranslate2_text._vocabulary(tmp_path)
    assert ctranslate2_text._orders(vocabulary, options(tmp_path, to="fr")) == ([">>fra<<"], [])
    assert ctranslate2_text._orders(ctranslate2_text._vocabulary(tiny_translator.made()), options(tmp_path)) == ([], [])


def test_a_model_is_known_by_its_bytes_and_not_by_its_folder(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        tiny_translator.make(tmp_path / name, seed=seed)
    one, same, other = (CTranslate2().weights(options(tmp_path / name)) for name in ("one", "same", "other"))
    assert one == same != other
    assert one.startswith("sha256:")


@pytest.mark.parametrize(
    ("kept", "why"), [((), "model.bin"), (("model.bin",), "SentencePiece"), (("model.bin", "source.spm"), "SentencePiece")]
)
def test_a_folder_that_lacks_something_is_refused_with_what_it_lacks(tmp_path: Path, kept: tuple[str, ...], why: str) -> None:
    for name in kept:
        (tmp_path / name).touch()
    with pytest.raises(WavemillError, match=why) as caught:
        CTranslate2().check(Item("", "", "translate_text", "ctranslate2", options(tmp_path), {}))
    assert (caught.value.code, caught.value.field) == ("bad_option", "model_dir")
    assert CTranslate2().weights(options(tmp_path)) == ""


def test_without_a_folder_the_user_is_asked_for_one() -> None:
    with pytest.raises(WavemillError, match="which folder"):
        CTranslate2().check(Item("", "", "translate_text", "ctranslate2", CTranslate2Options(to="es"), {}))


def test_files_that_are_no_model_make_the_engine_unloadable(tmp_path: Path) -> None:
    for name in ("model.bin", "source.spm", "target.spm"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(WavemillError) as caught:
        translate(tmp_path, "Hello.")
    assert caught.value.code == "engine_unloadable"
