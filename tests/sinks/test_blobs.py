"""Blobs: named by identity and content, so that nothing is ever overwritten by something else."""

from __future__ import annotations

import hashlib

from hypothesis import given, strategies as st

from sinks import blobs
from transforms.records import Encoded, Item, Result, Stored, Work
from transforms.store import Store

KEY = "c0ffee" + "0" * 58


def encoded(data: bytes, format: str = "wav") -> Encoded:
    return Encoded(data, format, hashlib.sha256(data).hexdigest(), 1.5)


def work(outputs: dict[str, Encoded], key: str = KEY) -> Work:
    return Work(Item(key, "r0", "synthesize", "echo", None, {}), Result({"pieces": 1}, outputs))  # type: ignore[arg-type]


def store(place: Store, outputs: dict[str, Encoded], key: str = KEY) -> Result:
    (stored,) = blobs.store([work(outputs, key)], place)
    assert isinstance(stored, Work) and isinstance(stored.payload, Result)
    return stored.payload


def test_an_output_is_named_by_its_item_and_its_content_and_said_in_full(out: str) -> None:
    place, output = Store(out), encoded(b"hello")
    result = store(place, {"audio": output})
    name = f"blobs/c0/{KEY}-2cf24dba5fb0.wav"
    assert result == Result({"pieces": 1}, {"audio": Stored("audio", name, "wav", 5, output.sha256, 1.5)})
    assert place.read(name) == b"hello"


def test_a_late_twin_with_other_bytes_leaves_the_first_as_it_is(out: str) -> None:
    place = Store(out)
    first = store(place, {"audio": encoded(b"the first")}).outputs["audio"]
    late = store(place, {"audio": encoded(b"a late twin")}).outputs["audio"]
    assert first.uri != late.uri
    assert (place.read(first.uri), place.read(late.uri)) == (b"the first", b"a late twin")


def test_the_same_bytes_stored_twice_are_one_file(out: str) -> None:
    place = Store(out)
    assert store(place, {"audio": encoded(b"same")}) == store(place, {"audio": encoded(b"same")})
    assert [(entry.url, entry.bytes) for entry in place.entries("blobs")] == [(blobs.name(KEY, encoded(b"same")), 4)]


def test_every_output_of_every_item_is_stored(out: str) -> None:
    place = Store(out)
    many = {"transcript": encoded(b"{}", "json"), "srt": encoded(b"1", "srt"), "vtt": encoded(b"1", "vtt")}
    flow = blobs.store([work(many, f"{n:064x}") for n in range(20)], place)
    stored = [output for one in flow if isinstance(one, Work) for output in one.payload.outputs.values()]
    assert [output.name for output in stored] == ["transcript", "srt", "vtt"] * 20
    assert {output.uri for output in stored} == {entry.url for entry in place.entries("blobs")} and len(place.entries("blobs")) == 60


@given(st.lists(st.tuples(st.sampled_from(["a" * 64, "b" * 64]), st.binary(max_size=3), st.sampled_from(["wav", "mp3"])), min_size=2))
def test_only_the_same_bytes_of_the_same_item_in_the_same_format_have_one_name(made: list[tuple[str, bytes, str]]) -> None:
    assert len({blobs.name(key, encoded(data, format)) for key, data, format in made}) == len(set(made))
