"""Storage: URLs, versions of what is listed and opened, and whose fault a file that is gone is."""

from __future__ import annotations

import pytest

from transforms import storage
from transforms.errors import WavemillError
from transforms.store import Store


def test_relative_names_resolve_against_their_base_and_absolute_ones_stand() -> None:
    assert storage.canonical("a/../b.wav", "/data") == "/data/b.wav"
    assert storage.canonical("clips/b.wav", "s3://bucket/set") == "s3://bucket/set/clips/b.wav"
    assert storage.canonical("../b.wav", "s3://bucket/set") == "s3://bucket/b.wav"
    assert storage.canonical("file:///x/./y.wav", "/data") == "/x/y.wav"
    assert storage.canonical("s3://other/c.wav", "/data") == "s3://other/c.wav"


def test_a_listing_shows_the_version_that_opening_shows(out: str) -> None:
    store = Store(out)
    store.write("in/a.bin", b"abc")
    (listed,) = storage.list_folder(store.path("in"))
    with storage.open_input(store.path("in/a.bin")) as opened:
        assert opened.file.read() == b"abc"
        assert opened.version == listed.version != ""
    store.write("in/a.bin", b"abcd")
    (changed,) = storage.list_folder(store.path("in"))
    assert changed.version != listed.version


def test_an_input_that_is_gone_is_the_items_fault(out: str) -> None:
    with pytest.raises(WavemillError) as caught, storage.open_input(Store(out).path("no.wav")):
        pass
    assert (caught.value.code, caught.value.kind) == ("input_not_found", "item")
