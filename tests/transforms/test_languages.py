"""Language codes of two and of three letters."""

from __future__ import annotations

import pytest

from transforms.languages import iso3, region


@pytest.mark.parametrize("code", ["es", "ES", "es-MX", "spa", "spa_Latn", "es_419"])
def test_however_a_language_is_written_it_is_one_code(code: str) -> None:
    assert iso3(code) == "spa"


@pytest.mark.parametrize(("code", "where"), [("pt-BR", "BR"), ("pt_BR", "BR"), ("pt", "")])
def test_the_region_is_what_stands_after_the_language(code: str, where: str) -> None:
    assert region(code) == where


def test_a_code_that_nobody_knows_stays_what_it_is() -> None:
    assert iso3("tlh") == "tlh"
