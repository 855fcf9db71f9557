"""Apertium: which pairs lead where, by a program that only lists them, and translations by the real one where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transforms import translate_text
from transforms.engine import Place
from transforms.engines import apertium
from transforms.engines.apertium import Apertium, route
from transforms.errors import WavemillError
from transforms.records import Item, Piece, Result

HERE = shutil.which("apertium") is not None and {"eng-spa", "spa-eng"} <= set(apertium.installed())
real = pytest.mark.skipif(not HERE, reason="Apertium with its pair eng-spa is not installed here")

Pairs = Callable[..., Path]


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pairs:
    """Puts a program `apertium` in the real one's place, which has these pairs and marks what went through each."""

    def make(*names: str) -> Path:
        (tmp_path / "bin").mkdir()
        (tmp_path / "share/apertium/modes").mkdir(parents=True)
        (tmp_path / "words.bin").write_text("data")
        for name in names:
            (tmp_path / f"share/apertium/modes/{name}.mode").write_text(f"lt-proc '{tmp_path}/words.bin' | other {name}")
        program = tmp_path / "bin/apertium"
        program.write_text(f'#!/bin/sh\nif [ "$1" = -l ]; then printf "  %s\\n" {" ".join(names)}; else sed "s/^..*/$2(&)/"; fi\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
        return tmp_path

    return make


def options(**values: Any) -> translate_text.Options:
    return translate_text.Options.parse(values)


def run(*texts: str, **values: Any) -> list[str]:
    engine = Apertium()
    engine.load(Place())
    outcomes = engine.run([Piece({"text": text}, options(**values), 0) for text in texts])
    return [outcome.fields["text"] for outcome in outcomes if isinstance(outcome, Result)]


def refused(**values: Any) -> WavemillError:
    with pytest.raises(WavemillError) as caught:
        Apertium().check(Item("", "", "translate_text", "apertium", options(**values), {}))
    return caught.value


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"to": "es"}, ("eng-spa",)),
        ({"to": "spa", "source": "en-GB"}, ("eng-spa",)),
        ({"to": "fr"}, ("eng-spa", "es-fr")),
        ({"to": "pt"}, ("eng-spa", "es-pt")),
        ({"to": "pt-BR"}, ("eng-spa", "es-pt_BR")),
        ({"to": "pt-BR", "source": "es"}, ("es-pt_BR",)),
        ({"to": "es-MX"}, ("eng-spa",)),
    ],
)
def test_a_text_takes_the_direct_way_or_goes_through_one_language(pairs: Pairs, values: Any, expected: tuple[str, ...]) -> None:
    pairs("eng-spa", "es-pt", "es-pt_BR", "es-fr", "fr-eo")
    assert route(options(**values)) == expected


def test_what_one_pair_made_the_next_one_is_given(pairs: Pairs) -> None:
    pairs("eng-spa", "es-fr")
    assert run("one", "two", to="fr") == ["es-fr(eng-spa(one))", "es-fr(eng-spa(two))"]


def test_a_language_that_no_pair_leads_to_is_refused_with_the_pairs_there_are(pairs: Pairs) -> None:
    pairs("eng-spa", "es-fr", "fr-eo")
    error = refused(to="eo")  # three steps away
    assert (error.code, error.field) == ("unsupported_language", "to")
    assert "eng-spa, es-fr, fr-eo" in error.detail


def test_a_text_that_would_stay_in_its_language_is_refused(pairs: Pairs) -> None:
    pairs("eng-spa")
    assert (refused(to="en").code, refused(to="en").field) == ("bad_option", "source")
    assert refused(to="spa", source="es-MX").field == "source"


@pytest.mark.parametrize("names", [(), None])
def test_without_the_program_or_any_pair_the_user_is_told_what_to_install(
    pairs: Pairs, names: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if names is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        pairs(*names)
    error = refused(to="es")
    assert error.code == "model_unavailable"
    assert "apt-get install apertium" in error.detail
    assert Apertium().weights(options(to="es")) == ""


def test_the_identity_is_that_of_the_data_of_the_pairs_on_the_way(pairs: Pairs) -> None:
    folder = pairs("eng-spa", "es-fr")
    before = Apertium().weights(options(to="es"))
    assert before.startswith("eng-spa@")
    assert "unknown" not in before
    assert Apertium().weights(options(to="fr")).startswith(f"{before}+es-fr@")
    (folder / "words.bin").write_text("newer data")
    assert Apertium().weights(options(to="es")) != before


def test_a_program_that_fails_is_the_engines_error_with_what_it_said(pairs: Pairs) -> None:
    program = pairs("eng-spa") / "bin/apertium"
    program.write_text('#!/bin/sh\nif [ "$1" = -l ]; then echo eng-spa; else echo no such luck >&2; exit 3; fi\n')
    with pytest.raises(WavemillError, match="3: no such luck") as caught:
        run("Hello", to="es")
    assert caught.value.code == "engine_error"


def test_texts_that_cannot_be_told_apart_again_are_translated_one_by_one(pairs: Pairs) -> None:
    program = pairs("eng-spa") / "bin/apertium"
    program.write_text('#!/bin/sh\nif [ "$1" = -l ]; then echo eng-spa; else tr "\\n" " "; fi\n')
    assert run("one", "two", to="es") == ["one", "two"]


@real
def test_texts_are_translated_each_in_its_place_and_unknown_words_stay_unmarked() -> None:
    told = run("The boat is late.", "...", "Hello foobarzz", "Hello *foobarzz* [here]", to="es")
    assert told == ["El bote es tarde.", "...", "Hola foobarzz", "Hola *foobarzz* [Aquí]"]


@real
def test_what_a_shell_would_take_for_a_command_is_only_text(tmp_path: Path) -> None:
    (told,) = run(f"$(touch {tmp_path}/a) `touch {tmp_path}/b`; touch {tmp_path}/c | -u", to="es")
    assert told
    assert list(tmp_path.iterdir()) == []


@real
def test_the_real_pairs_have_an_identity() -> None:
    assert len(Apertium().weights(options(to="es"))) == len("eng-spa@") + 32
    assert Apertium().weights(options(to="es")) != Apertium().weights(options(to="en", source="es"))
