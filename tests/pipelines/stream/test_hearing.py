"""Chunks and sessions in a child process: the same answers, and its death is an answer too."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from pipelines.stream.hearing import Apart, Heard, hear
from pipelines.stream.spec import StreamSpec
from sources import chunks
from transforms.errors import WavemillError
from transforms.records import Audio, Failure
from transforms.settings import Settings
from transforms.steps import Stopped

TONE = np.sin(np.arange(16000) / 10).astype(np.float32)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    made = Apart(StreamSpec("transcribe", "echo", {"crash_on": "0.90"}, "in", "out", "failed", "g", str(tmp_path)), Settings())
    yield made
    made.close()


def chunk(data: bytes) -> chunks.ChunkMessage:
    audio = {"data": base64.b64encode(data).decode(), "rate_hz": 16000}
    return chunks.ChunkMessage.model_validate({"version": 1, "session": "one", "seq": 0, "audio": audio})


def test_a_child_answers_as_its_parent_would_and_what_kills_it_is_known(apart: Apart) -> None:
    pcm = (TONE * 9000).astype("<i2").tobytes()
    assert (apart.decode(chunk(pcm)) == chunks.samples_of(chunk(pcm))).all()
    with pytest.raises(WavemillError, match="whole number of 16-bit samples"):
        apart.decode(chunk(pcm[:-1]))
    first = apart.process.pid
    heard = Heard("one", Audio(TONE[None] * 0.5, 16000), "de")
    engine = apart.spec.new_engine()
    options = engine.Options.parse(dict(apart.spec.options))
    assert [apart.hear(heard)] == hear(engine, options, [heard])
    assert apart.process.pid == first
    killer = apart.hear(Heard("two", Audio(TONE[None] * 0.9, 16000), None))
    assert isinstance(killer, Failure) and killer.code == "engine_crashed" and "exit code 139" in killer.detail
    assert [apart.hear(heard)] == hear(engine, options, [heard])
    apart.process.kill()
    with pytest.raises(WavemillError, match="SIGKILL"):
        apart.decode(chunk(pcm))
    assert len(apart.decode(chunk(pcm))) == 16000
    apart.close()
    with pytest.raises(Stopped):
        apart.decode(chunk(pcm))
