"""`wavemill stream transcribe --live` against a real Kafka: every word of a session is final once, whatever happens to its workers."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from sinks import live as messages
from sources import chunks
from tests.pipelines.stream.conftest import Stream, kafka, wait_for
from transforms.engine import Place, engine_class
from transforms.live import RATE_HZ
from transforms.pull import pull
from transforms.records import Piece, Result
from transforms.settings import Settings

ROOT = Path(__file__).parents[3]
CHUNK_S = 0.25
TEXTS = (
    "The street was quiet that morning. Two boats came in slowly, and an old man waved at them from the pier.",
    "My sister wrote a long letter to her old teacher. There is fresh bread on the table and cold milk in the kitchen.",
    "When the rain stopped, the children ran out into the garden. Nobody knew why the shop was closed that morning.",
    "We usually walk along the river on Sunday afternoon. The doctor told him to rest and to drink more water.",
)


def words_of(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ").split()


@pytest.fixture(scope="session")
def spoken() -> dict[str, np.ndarray]:
    """Each text as int16 samples at 16 kHz, with a second of silence after it."""
    import soxr

    settings = Settings()
    for model in ("piper-en_US-joe-medium", "whisper-tiny.en"):
        pull(model, settings)
    speaking = engine_class("synthesize", "piper")
    speaker = speaking()
    speaker.load(Place("cpu", 1, settings.models_dir))
    found = {}
    for text in TEXTS:
        (result,) = speaker.run([Piece({"text": text}, speaking.Options(), 0)])
        assert isinstance(result, Result)
        audio = result.outputs["audio"]
        mono = soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ)
        found[text] = np.concatenate([(mono * 32767).astype(np.int16), np.zeros(RATE_HZ, np.int16)])
    speaker.close()
    return found


def chunk(session: str, seq: int, samples: np.ndarray | None, end: bool = False) -> dict[str, Any]:
    audio = None if samples is None else {"data": base64.b64encode(samples.astype("<i2").tobytes()).decode(), "rate_hz": RATE_HZ}
    return {"version": 1, "session": session, "seq": seq, "audio": audio, "end": end}


def cut(session: str, samples: np.ndarray) -> list[dict[str, Any]]:
    step = round(CHUNK_S * RATE_HZ)
    starts = range(0, len(samples), step)
    return [chunk(session, seq, samples[at : at + step], at + step >= len(samples)) for seq, at in enumerate(starts)]


class Live(Stream):
    """A `Stream` with a topic of states, and sessions told apart."""

    def __init__(self, servers: str, name: str, folder: Path, partitions: int = 4, states: int = 4) -> None:
        super().__init__(servers, name, folder, partitions)
        self.state = f"{name}-state"
        from kafka.admin import KafkaAdminClient, NewTopic

        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_topics([NewTopic(self.state, states, 1, topic_configs={"cleanup.policy": "compact"})])
        admin.close()
        self.producer = kafka.KafkaProducer(bootstrap_servers=servers, acks="all")

    def say(self, *given: Mapping[str, Any] | bytes, key: str = "") -> None:
        for one in given:
            if isinstance(one, bytes):
                self.producer.send(self.input, key=key.encode(), value=one)
            else:
                self.producer.send(self.input, key=one["session"].encode(), value=json.dumps(one).encode())
        self.producer.flush()

    def listen(self, *flags: str, engine: str = "faster-whisper") -> Any:
        options = ["-O", "model=tiny.en", "-O", "beam_size=1"] if engine == "faster-whisper" else []
        return self.start("--live", "--state", self.state, *options, *flags, operation="transcribe", engine=engine)

    def heard(self, until: Callable[[list[dict[str, Any]]], bool], patience_s: float = 150.0) -> list[dict[str, Any]]:
        """What is committed, once `until` is content with it and a little after, in the order of each topic."""
        reader = self._reader(self.output, self.failures)
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
        reader = self._reader(self.state)
        found: dict[bytes, bytes | None] = {}
        for _ in range(6):
            found |= {record.key: record.value for records in reader.poll(timeout_ms=300).values() for record in records}
        reader.close()
        return found

    def _reader(self, *topics: str) -> Any:
        return kafka.KafkaConsumer(
            *topics,
            bootstrap_servers=self.servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )

    def progress(self) -> int:
        return sum(found.offset for found in self.committed().values() if found)


def _told(record: Any) -> dict[str, Any]:
    return {**json.loads(record.value), "topic": record.topic, "record_key": record.key}


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


def assert_whole(found: Sequence[Mapping[str, Any]]) -> None:
    """No message of a session is missing or there twice."""
    revisions: dict[str, list[int]] = {}
    for one in found:
        if "revision" in one:
            revisions.setdefault(one["session"], []).append(one["revision"])
    for session, seen in revisions.items():
        assert seen == list(range(1, len(seen) + 1)), session


@pytest.fixture
def live(kafka_server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Live]:
    made = Live(kafka_server, f"l{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}", tmp_path)
    yield made
    made.producer.close()
    for worker in made.workers:
        if worker.poll() is None:
            made.kill(worker)


def test_words_are_partial_while_they_are_spoken_and_final_once(live: Live, spoken: dict[str, np.ndarray]) -> None:
    live.listen()
    live.say(*cut("one", spoken[TEXTS[0]]))
    found = live.heard(all_said({"one": spoken[TEXTS[0]]}))
    assert codes(found) == {}
    assert_whole(found)
    assert {one["record_key"] for one in found} == {b"one"}
    wrong = set(finals(found)["one"]) ^ set(words_of(TEXTS[0]))
    assert len(wrong) <= 3 and abs(len(finals(found)["one"]) - len(words_of(TEXTS[0]))) <= 1, finals(found)
    first_final = next(index for index, one in enumerate(found) if one["kind"] == "final")
    assert first_final > 0, "there was a partial before"
    for one in found:
        messages.Heard.model_validate({name: one[name] for name in messages.Heard.model_fields})


def test_chunks_that_are_late_missing_doubled_or_broken_are_told_and_the_rest_is_heard(live: Live, spoken: dict[str, np.ndarray]) -> None:
    live.listen("--idle", "5")
    samples = spoken[TEXTS[0]]
    given = cut("one", samples)
    given[2], given[3] = given[3], given[2]
    given.insert(6, given[5])
    quiet = len(given) - 3  # in the silence at the end
    del given[quiet]
    live.say(*given[:8], b"\xff no JSON", key="one")
    live.say({**given[8], "colour": "blue"}, {**chunk("two", 0, None, True), "audio": {"data": base64.b64encode(b"no audio").decode()}})
    live.say(*given[8:])
    live.say(given[-1])
    found = live.heard(lambda found: all_said({"one": samples})(found) and codes(found)["chunk_missing"] == 1)
    assert codes(found) == {"chunk_missing": 1, "chunk_refused": 2, "bad_message": 2, "bad_audio": 1}
    refused = next(one for one in found if one.get("code") == "chunk_refused")
    assert json.loads(base64.b64decode(refused["original"]))["seq"] == given[5]["seq"]
    assert refused["id"] == "one" and refused["record_key"] == b"one"
    assert len(set(finals(found)["one"]) ^ set(words_of(TEXTS[0]))) <= 3
    assert_whole(found)


@pytest.mark.slow
def test_a_worker_killed_at_random_moments_loses_and_doubles_no_word(live: Live, spoken: dict[str, np.ndarray]) -> None:
    sessions = {f"s{index}": spoken[text] for index, text in enumerate(TEXTS)}
    given = [cut(name, samples) for name, samples in sessions.items()]
    unbroken = Live(live.servers, f"{live.input}-whole", live.folder)
    for one in (live, unbroken):  # what is said together stands side by side in the topic
        one.say(*(chunk for turn in range(max(map(len, given))) for chunks in given for chunk in chunks[turn : turn + 1]))
    unbroken.listen("--idle", "600")
    whole = unbroken.heard(all_said(sessions))
    unbroken.stop(unbroken.workers[0])
    unbroken.producer.close()
    moments, kills = random.Random(7), 0
    worker = live.listen("--idle", "600", "--worker", "one")
    for _ in range(4):
        before = live.progress()
        wait_for(lambda before=before: live.progress() > before or all_said(sessions)(live.heard(lambda found: True)))
        time.sleep(moments.uniform(0.0, 0.6))
        live.kill(worker)
        kills += 1
        worker = live.listen("--idle", "600", "--worker", "one")
    found = live.heard(all_said(sessions))
    assert_whole(found)
    assert codes(found) == {}
    assert finals(found) == finals(whole)
    assert worker.poll() is None
    assert kills == 4


@pytest.mark.slow
def test_two_workers_share_the_sessions_and_one_that_leaves_hands_them_over(live: Live, spoken: dict[str, np.ndarray]) -> None:
    sessions = {f"s{index}": spoken[TEXTS[index % 4]] for index in range(8)}
    given = [cut(name, samples) for name, samples in sessions.items()]
    halves = [[chunk for chunks in given for chunk in chunks[: len(chunks) // 2]], [c for chunks in given for c in chunks[len(chunks) // 2 :]]]
    first = live.listen("--idle", "600")
    wait_for(lambda: "group" in live.log(first))
    live.say(*halves[0])
    second = live.listen("--idle", "600")
    wait_for(lambda: "sessions go on" in live.log(second))
    assert live.stop(first) == 0
    live.say(*halves[1])
    found = live.heard(all_said(sessions))
    assert_whole(found)
    assert codes(found) == {}
    for name, words in finals(found).items():
        text = words_of(TEXTS[int(name[1:]) % 4])
        assert len(set(words) ^ set(text)) <= 4 and abs(len(words) - len(text)) <= 1, (name, words)
    assert second.poll() is None


def test_a_session_that_falls_silent_is_closed_and_then_forgotten(live: Live) -> None:
    live.listen("--idle", "2", engine="echo")
    live.say(chunk("one", 0, np.zeros(4000)), chunk("one", 2, np.zeros(4000)))
    found = live.heard(lambda found: codes(found)["chunk_missing"] == 1)
    assert codes(found) == {"chunk_missing": 1}
    live.say(chunk("one", 1, np.zeros(4000)))
    found = live.heard(lambda found: codes(found)["chunk_refused"] == 1)
    assert codes(found) == {"chunk_missing": 1, "chunk_refused": 1}, "it came after the end"
    wait_for(lambda: live.states() == {b"one": None})


def test_a_topic_of_states_with_too_few_partitions_is_refused(live: Live) -> None:
    other = Live(live.servers, f"{live.input}-few", live.folder, partitions=4, states=2)
    worker = other.listen(engine="echo")
    assert worker.wait(60) == 2
    assert "2 partitions" in other.log(worker)
    other.producer.close()


def test_live_and_state_belong_together(live: Live) -> None:
    worker = live.start("--live", operation="transcribe")
    assert worker.wait(60) == 2
    assert "--state" in live.log(worker)


def test_a_chunk_may_be_pcm_of_any_rate_or_a_small_file() -> None:
    import soundfile

    tone = (np.sin(np.arange(8000) / 8000 * 440 * 2 * np.pi) * 9000).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, tone, 8000, format="OGG", subtype="OPUS")
    for audio in (
        {"data": base64.b64encode(tone.tobytes()).decode(), "rate_hz": 8000},
        {"data": base64.b64encode(file.getvalue()).decode()},
    ):
        samples = chunks.samples_of(chunks.parse(json.dumps({**chunk("one", 0, None), "audio": audio}).encode()))
        assert samples.dtype == np.int16 and abs(len(samples) - RATE_HZ) <= 160
        assert 7000 < np.abs(samples[2000:14000]).max() < 10000


@pytest.mark.parametrize(("model", "path"), [(chunks.ChunkMessage, "sources/chunk.schema.json"), (messages.Heard, "sinks/live.schema.json")])
def test_the_published_schemas_are_those_of_the_models(model: Any, path: str) -> None:
    published = json.loads((ROOT / path).read_text())
    Draft202012Validator.check_schema(published)
    assert published == model.model_json_schema()
