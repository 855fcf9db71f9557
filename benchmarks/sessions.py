"""Live sessions for tests and measurements: sentences that are spoken, cut into chunks, and what is heard of them."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.topics import Stream
from transforms.engine import Place, engine_class
from transforms.live import RATE_HZ
from transforms.pull import pull
from transforms.records import Piece, Result
from transforms.settings import Settings

TEXTS = (
    "The street was quiet that morning. Two boats came in slowly, and an old man waved at them from the pier.",
    "My sister wrote a long letter to her old teacher. There is fresh bread on the table and cold milk in the kitchen.",
    "When the rain stopped, the children ran out into the garden. Nobody knew why the shop was closed that morning.",
    "We usually walk along the river on Sunday afternoon. The doctor told him to rest and to drink more water.",
)
CHUNK_S = 0.25


def speak(texts: Sequence[str]) -> list[np.ndarray]:
    """Each text in a voice of Piper's, as int16 samples at 16 kHz with a second of silence after it."""
    settings = Settings()
    pull("piper-en_US-joe-medium", settings)
    speaking = engine_class("synthesize", "piper")
    speaker = speaking()
    speaker.load(Place("cpu", 1, settings.models_dir))
    found = []
    for text in texts:
        (result,) = speaker.run([Piece({"text": text}, speaking.Options(), 0)])
        assert isinstance(result, Result)
        audio = result.outputs["audio"]
        mono = soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ)
        found.append(np.concatenate([(mono * 32767).astype(np.int16), np.zeros(RATE_HZ, np.int16)]))
    speaker.close()
    return found


def chunk(session: str, seq: int, samples: np.ndarray | None, end: bool = False) -> dict[str, Any]:
    audio = None if samples is None else {"data": base64.b64encode(samples.astype("<i2").tobytes()).decode(), "rate_hz": RATE_HZ}
    return {"version": 1, "session": session, "seq": seq, "audio": audio, "end": end}


def cut(session: str, samples: np.ndarray) -> list[dict[str, Any]]:
    """The samples as chunks of `CHUNK_S`."""
    step = round(CHUNK_S * RATE_HZ)
    starts = range(0, len(samples), step)
    return [chunk(session, seq, samples[at : at + step], at + step >= len(samples)) for seq, at in enumerate(starts)]


class LiveStream(Stream):
    """A `Stream` with a topic of states, and sessions told apart."""

    def __init__(self, servers: str, name: str, folder: Path, partitions: int = 4, states: int = 4) -> None:
        super().__init__(servers, name, folder, partitions)
        self.state = f"{name}-state"
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_topics([NewTopic(self.state, states, 1, topic_configs={"cleanup.policy": "compact"})])
        admin.close()
        self.producer = KafkaProducer(bootstrap_servers=servers, acks="all")

    def say(self, *given: Mapping[str, Any] | bytes, key: str = "") -> None:
        for one in given:
            if isinstance(one, bytes):
                self.producer.send(self.input, key=key.encode(), value=one)
            else:
                self.producer.send(self.input, key=one["session"].encode(), value=json.dumps(one).encode())
        self.producer.flush()

    def listen(self, *flags: str, engine: str = "faster-whisper", model: str = "tiny.en") -> Any:
        options = ["-O", f"model={model}", "-O", "beam_size=1", "-O", "language=en"] if engine == "faster-whisper" else []
        return self.start("--live", "--state", self.state, *options, *flags, operation="transcribe", engine=engine)

    def heard(self, until: Callable[[list[dict[str, Any]]], bool], patience_s: float = 150.0) -> list[dict[str, Any]]:
        """What is committed, once `until` is content with it and a little after, in the order of each topic."""
        reader = self.reader(self.output, self.failures)
        found: list[dict[str, Any]] = []
        deadline_s = time.monotonic() + patience_s
        try:
            while not until(found) and time.monotonic() < deadline_s:
                found += [_told(record) for records in reader.poll(timeout_ms=300).values() for record in records]
            for _ in range(4):
                found += [_told(record) for records in reader.poll(timeout_ms=300).values() for record in records]
        finally:
            reader.close()
        return found

    def states(self) -> dict[bytes, bytes | None]:
        """The last state of each session."""
        reader = self.reader(self.state)
        found: dict[bytes, bytes | None] = {}
        for _ in range(6):
            found |= {record.key: record.value for records in reader.poll(timeout_ms=300).values() for record in records}
        reader.close()
        return found

    def reader(self, *topics: str) -> Any:
        """An independent reader of what is committed, from the beginning."""
        reading = {"isolation_level": "read_committed", "auto_offset_reset": "earliest", "enable_auto_commit": False}
        return KafkaConsumer(*topics, bootstrap_servers=self.servers, **reading)

    def progress(self) -> int:
        """How many chunks are committed."""
        return sum(found.offset for found in self.committed().values() if found)


def _told(record: Any) -> dict[str, Any]:
    return {**json.loads(record.value), "topic": record.topic, "record_key": record.key}


def words_of(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ").split()


def finals(found: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Session -> the words that are final, in order."""
    said: dict[str, list[str]] = {}
    for one in found:
        if one.get("kind") == "final":
            said.setdefault(one["session"], []).extend(words_of(one["text"]))
    return said


def codes(found: Sequence[Mapping[str, Any]]) -> Counter[str]:
    return Counter(one["code"] for one in found if "code" in one)


def all_said(sessions: Mapping[str, np.ndarray]) -> Callable[[list[dict[str, Any]]], bool]:
    """Whether of each session something is final that ends where its last word does."""

    def until(found: list[dict[str, Any]]) -> bool:
        ends = {one["session"]: one["end_s"] for one in found if one.get("kind") == "final"}
        return all(ends.get(name, 0.0) > len(samples) / RATE_HZ - 1.6 for name, samples in sessions.items())

    return until


def broken(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sessions of which a message is missing or there twice."""
    revisions: dict[str, list[int]] = {}
    for one in found:
        if "revision" in one:
            revisions.setdefault(one["session"], []).append(one["revision"])
    return [session for session, seen in revisions.items() if seen != list(range(1, len(seen) + 1))]
