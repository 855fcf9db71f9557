"""A pronunciation lexicon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from transforms.errors import WavemillError
from transforms.lexicon import mask, read_lexicon
from transforms.synthesize import Options


def say(text: str, lexicon: dict[str, str]) -> str:
    masked, unmask = mask(text, lexicon)
    return unmask(masked)


@pytest.mark.parametrize(
    ("text", "lexicon", "said"),
    [
        ("a cat, cats and concat", {"cat": "dog"}, "a dog, cats and concat"),
        ("Kokoro and KOKORO", {"kokoro": "ko ko ro"}, "ko ko ro and ko ko ro"),
        ("us in the US", {"US": "you ess"}, "us in the you ess"),
        ("us in the US", {"US": "you ess", "us": "them"}, "them in the you ess"),
        ("New  York City, new york", {"new york": "N Y", "new york city": "N Y C"}, "N Y C, N Y"),
        ("C++ and .NET", {"c++": "see plus plus", ".net": "dot net"}, "see plus plus and dot net"),
        ("one two", {"one": "two", "two": "three"}, "two three"),
        ("東京タワー", {"東京": "とうきょう"}, "とうきょうタワー"),
        ("नमस्ते नम", {"नम": "x"}, "नमस्ते x"),
    ],
)
def test_whole_words_are_replaced_once_the_longest_first(text: str, lexicon: dict[str, str], said: str) -> None:
    assert say(text, lexicon) == said


@given(st.text(max_size=30), st.dictionaries(st.text("abAB .+", min_size=1).filter(str.strip), st.text("xyz", min_size=1), max_size=5))
def test_any_words_work_on_any_text(text: str, lexicon: dict[str, str]) -> None:
    tidy = read_lexicon(lexicon)
    if not any(word.lower() in text.lower() for word in tidy):
        assert say(text, tidy) == text


def test_a_lexicon_is_a_mapping_or_json_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    file.write_text("# how we say it\n\nSQL\tsequel\nnew  york\tN Y\n", encoding="utf-8")
    wanted = {"SQL": "sequel", "new york": "N Y"}
    for given_ in (wanted, json.dumps(wanted), str(file)):
        assert Options.parse({"lexicon": given_}).lexicon == wanted
    assert Options.parse({"lexicon": ""}).lexicon == {}


def test_the_identity_follows_what_the_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    file.write_text("SQL\tsequel\n")
    before = Options.parse({"lexicon": str(file)}).canonical()
    assert Options.parse({"lexicon": {"SQL": "sequel"}}).canonical() == before
    file.write_text("SQL\tess cue ell\n")
    assert Options.parse({"lexicon": str(file)}).canonical() != before


def test_a_bad_lexicon_is_a_bad_option(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    file.write_text("SQL\tsequel\nno tab here\n")
    binary = tmp_path / "words.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    for value, detail in (
        (str(file), "line 2"),
        (str(binary), "not UTF-8"),
        (str(tmp_path / "missing"), "cannot be read"),
        ("{broken", "lexicon"),
        ({"a": ""}, "not empty"),
        ({"a": 1}, "not empty"),
        (3, "lexicon"),
        ("a\x00b", "lexicon"),
    ):
        with pytest.raises(WavemillError, match=detail) as raised:
            Options.parse({"lexicon": value})
        assert (raised.value.code, raised.value.field) == ("bad_option", "lexicon")
