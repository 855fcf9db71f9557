"""Who an item is: every field counts, and SQL and Python agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pipelines.batch import snapshot
from pipelines.spec import PipelineSpec
from transforms import identity
from transforms.engines.echo import EchoSpeech, EchoTranscript
from transforms.records import Input


def test_flipping_any_field_of_a_request_changes_the_key_and_flipping_none_does_not() -> None:
    engine = EchoSpeech()

    def key(text: str = "hello", **options: object) -> str:
        return identity.key(identity.prefix(engine, engine.Options.parse(options)), {"text": Input("text", text)})

    base = key()
    flipped = [
        key("hello!"),
        key(voice="echo2"),
        key(speed=1.1),
        key(format="wav"),
        key(seed=1),
        key(loudness=-16),
        key(normalize=False),
        key(lexicon={"a": "b"}),
        key(sentence_pause=0.3),
        key(bitrate=64),
        key(sample_rate=16000),
        key(piece_s=0.2),
    ]
    assert key() == base
    assert key(speed=1.0, format="mp3") == base, "a default that is spelled out is still the default"
    assert len({base, *flipped}) == len(flipped) + 1


def test_the_engine_and_its_version_are_part_of_the_identity() -> None:
    class Later(EchoSpeech):
        version = EchoSpeech.version + 1

    options = EchoSpeech.Options()
    assert identity.prefix(EchoSpeech(), options) != identity.prefix(Later(), options)
    assert identity.prefix(EchoSpeech(), options) != identity.prefix(EchoTranscript(), EchoTranscript.Options())


def test_a_uri_at_another_version_is_another_item() -> None:
    assert identity.key("p", {"audio": Input("uri", "s3://b/a.wav", "1")}) != identity.key(
        "p", {"audio": Input("uri", "s3://b/a.wav", "2")}
    )


def test_texts_that_differ_only_in_unicode_composition_are_one_item() -> None:
    assert identity.text_digest("cafe\u0301") == identity.text_digest("caf\u00e9")


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), min_size=1, max_size=80), min_size=1, max_size=8
    )
)
def test_sql_and_python_give_every_row_the_same_key(texts: list[str]) -> None:
    import json
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.jsonl"
        path.write_text("".join(json.dumps({"text": text, "speed": 1.0 + index / 10}) + "\n" for index, text in enumerate(texts)))
        spec = PipelineSpec(operation="synthesize", source=str(path), out=folder, engine="echo", options={"format": "wav"})
        engine = spec.new_engine()
        with snapshot.connect(Path(folder)) as con:
            snapshot.take(con, spec, engine, Path(folder))
            found = [key for (key,) in con.execute("SELECT key FROM snapshot ORDER BY index").fetchall()]
    expected = [
        identity.key(
            identity.prefix(engine, engine.Options.parse({"format": "wav", "speed": 1.0 + index / 10})), {"text": Input("text", text)}
        )
        for index, text in enumerate(texts)
    ]
    assert found == expected


@pytest.mark.parametrize("extra", [0, 1, 2**31])
def test_seeds_are_64_bit_and_differ_between_pieces(extra: int) -> None:
    first, second = identity.seed("k", extra), identity.seed("k", extra + 1)
    assert first != second and 0 <= first < 2**64
