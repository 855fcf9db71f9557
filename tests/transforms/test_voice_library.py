"""Voices that recordings told: kept, found, mixed, and refused where they are not what was kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms import voice_library, voices
from transforms.errors import WavemillError
from transforms.pull import pull
from transforms.settings import Settings
from transforms.voice_library import PACK_SHAPE, Library

FITTED = "emb_0123456789abcdef01234567"
FACTS = {"method": "style fitted by gradient", "similarity": 0.9}


@pytest.fixture(params=["disk", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "voices") if request.param == "disk" else request.getfixturevalue("s3") + "/voices"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """The library that this process's settings name."""
    monkeypatch.setenv("WAVEMILL_VOICES", str(tmp_path / "voices"))
    return voice_library.library()


def pack(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=PACK_SHAPE).astype(np.float32)


def code(act: object, *args: object) -> str:
    with pytest.raises(WavemillError) as caught:
        act(*args)  # type: ignore[operator]
    return caught.value.code


def test_what_is_kept_is_found_by_another_process_too(url: str) -> None:
    kept = Library(url).add_fitted(FITTED, pack(), made_of="af_bella", embedding=[0.5, 0.25], **FACTS)
    named = Library(url).save("Ann, by mail", name="Ann", made_of=FITTED, **FACTS)
    other = Library(url)
    assert (other.find(FITTED), other.find(named.id)) == (kept, named)
    np.testing.assert_array_equal(other.pack(FITTED), pack())
    assert [voice.id for voice in other.all()] == [FITTED, named.id]
    assert named.consent and named.consent.by == "Ann, by mail"
    other.remove(named.id)
    assert code(Library(url).find, named.id) == "unknown_voice"
    other.keep_preview("af_bella", "0a", b"mp3")
    found = [Library(url).preview(id, key) for id, key in (("af_bella", "0a"), ("bf_emma", "0a"), ("af_bella", "0b"))]
    assert found == [b"mp3", None, None]


def test_a_removed_voice_takes_every_preview_of_its_own_along(url: str) -> None:
    library = Library(url)
    gone, stays = (library.save("Ann, by mail", made_of="af_bella", **FACTS).id for _ in range(2))
    for id, key in ((gone, "0a"), (gone, "0b"), (stays, "0a")):
        library.keep_preview(id, key, b"mp3")
    library.remove(gone)
    assert [library.preview(id, key) for id, key in ((gone, "0a"), (gone, "0b"), (stays, "0a"))] == [None, None, b"mp3"]


def test_of_two_who_fit_one_voice_at_once_the_first_ones_stays(url: str) -> None:
    class Late(Library):
        """Looked before the first was there."""

        looked = False

        def get(self, id: str) -> voice_library.Saved | None:
            first, self.looked = not self.looked, True
            return None if first else super().get(id)

    one, other = Library(url), Late(url)
    first = one.add_fitted(FITTED, pack(0), made_of="af_bella", **FACTS)
    assert other.add_fitted(FITTED, pack(1), made_of="bf_emma", **FACTS) == first
    for library in (one, other, Library(url)):
        np.testing.assert_array_equal(library.pack(FITTED), pack(0))


@pytest.mark.parametrize("id", ["emb_../../etc/passwd", "uv_0", "af_bella", "uv_0123456789AB", "emb_0123456789ab/x", ""])
def test_an_id_that_is_none_names_no_file(here: Library, id: str) -> None:
    assert not voice_library.is_saved(id)
    assert here.get(id) is None
    assert code(here.find, id) == "unknown_voice"
    assert code(here.remove, id) == "unknown_voice"


def test_a_broken_record_and_a_broken_pack_are_told_and_not_spoken(here: Library, tmp_path: Path) -> None:
    here.add_fitted(FITTED, pack(), made_of="af_bella", **FACTS)
    (kept,) = (tmp_path / "voices" / "packs").iterdir()
    kept.write_bytes(b"other")
    assert code(Library(str(tmp_path / "voices")).pack, FITTED) == "unknown_voice"
    (tmp_path / "voices" / f"{FITTED}.json").write_text("{}")
    assert code(Library(str(tmp_path / "voices")).find, FITTED) == "unknown_voice"


@pytest.mark.parametrize("consent", ["", "  "])
def test_nothing_is_saved_without_consent(here: Library, consent: str) -> None:
    assert code(lambda: here.save(consent, made_of="af_bella", **FACTS)) == "bad_usage"
    assert list(here.all()) == []


def test_saved_voices_are_mixed_like_stock_ones(here: Library) -> None:
    pull("kokoro-voices", Settings())
    here.add_fitted(FITTED, pack(), made_of="bf_emma:0.4+af_bella:0.6", **FACTS)
    named = here.save("me", name="me", made_of=f"{FITTED}:0.5+af_sky:0.5", **FACTS)
    mix = voices.resolve("kokoro", f"{named.id}:0.5+af_sky:0.5")
    assert dict(mix) == {"af_sky": pytest.approx(0.75), FITTED: pytest.approx(0.25)}
    stock = voices.read_pack((("af_sky", 1.0),), Settings().models_dir)
    np.testing.assert_allclose(voices.read_pack(mix, Settings().models_dir), 0.75 * stock + 0.25 * pack(), atol=1e-5)
    assert voices.letter_of(FITTED) == "a"
    assert code(voices.resolve, "piper", FITTED) == "unknown_voice"
    assert code(voices.resolve, "kokoro", "emb_ffffffffffffffffffffffff") == "unknown_voice"


@given(st.integers(0, 3), st.integers(0, 3))
def test_the_identity_of_a_fitted_voice_is_its_pack(tmp_path_factory: pytest.TempPathFactory, one: int, other: int) -> None:
    digests = []
    for seed in (one, other):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WAVEMILL_VOICES", str(tmp_path_factory.mktemp("voices")))
            voice_library.library().add_fitted(FITTED, pack(seed), made_of="af_bella", **FACTS)
            digests.append(voices.pack_digest("kokoro", voices.resolve("kokoro", FITTED)))
    assert (digests[0] == digests[1]) == (one == other)


def test_with_a_saved_voice_goes_what_it_alone_was_made_of_and_nothing_that_others_need(here: Library) -> None:
    here.add_fitted(FITTED, pack(), made_of="af_bella", **FACTS)
    one, other = (here.save("me", name=name, made_of=FITTED, **FACTS) for name in ("one", "other"))
    assert code(here.remove, FITTED) == "bad_usage"
    here.remove(one.id)
    assert here.get(FITTED)
    here.remove(other.id)
    assert (here.ids(), here.get(FITTED)) == ([], None)


def test_a_record_of_another_voice_or_another_place_is_none(here: Library, tmp_path: Path) -> None:
    here.add_fitted(FITTED, pack(), made_of="af_bella", **FACTS)
    record = (tmp_path / "voices" / f"{FITTED}.json").read_text()
    moved = "emb_ffffffffffffffffffffffff"
    (tmp_path / "voices" / f"{moved}.json").write_text(record)
    assert code(here.find, moved) == "unknown_voice"
    (tmp_path / "voices" / f"{FITTED}.json").write_text(record.replace('"sha256":"', '"sha256":"../../'))
    assert code(Library(str(tmp_path / "voices")).find, FITTED) == "unknown_voice"
    assert [voice.id for voice in Library(str(tmp_path / "voices")).all()] == []
