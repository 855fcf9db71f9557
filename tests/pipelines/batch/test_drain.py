"""A topic as SOURCE and OUT of an ordinary run, against a real Kafka: each message has one outcome, offsets move only with results."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import wave
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.batch import drain as draining, ranges, run as runs, status as statuses
from pipelines.spec import PipelineSpec
from pipelines.supervised import Control
from sources.topic import Span, Topic
from tests.pipelines.batch.conftest import SETTINGS, Heard
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess
from transforms.store import Store

kafka = pytest.importorskip("kafka", reason="the extra kafka is not installed")
from benchmarks.topics import Stream, claim, doubled  # noqa: E402
from pipelines.batch.group import Answer, Group  # noqa: E402  (needs Kafka's client)
from sinks.kafka import Record  # noqa: E402
from sources.kafka import Message  # noqa: E402


class Drained(Stream):
    """A stream's topics, drained into a folder or into its output topics."""

    @property
    def source(self) -> str:
        return f"kafka://{self.input}?group={self.group}"

    @property
    def root(self) -> Path:
        return self.folder / "out"

    def spec(self, to_topic: bool = False, **fields: Any) -> PipelineSpec:
        given: dict[str, Any] = {
            "operation": "synthesize",
            "source": self.source,
            "engine": "echo",
            "out": str(self.root),
            "max_failures": "100%",
        }
        if to_topic:
            given |= {"out": f"kafka://{self.output}?failures={self.failures}", "work": str(self.root)}
        if fields.get("operation", "synthesize") == "synthesize":
            given["options"] = {"format": "wav", "normalize": False, "piece_s": 0.05, **fields.pop("options", {})}
        return PipelineSpec.parse({**given, **fields})

    def drain(self, to_topic: bool = False, heard: Heard | None = None, control: Control | None = None, **fields: Any) -> runs.Summary:
        return runs.run(self.spec(to_topic, **fields), SETTINGS, heard or Heard(), control or Control())

    def drain_until(self, event: str, to_topic: bool = False, **fields: Any) -> runs.Summary:
        """Stopped, as by Ctrl-C, at the first event of a kind."""
        control = Control()
        heard = Heard(lambda found: control.stop("SIGINT") if event in found else None)
        return self.drain(to_topic, heard, control, **fields)

    def rows(self) -> list[dict[str, Any]]:
        """All that is published."""
        paths = sorted(map(str, self.root.glob("ranges/*/manifest.parquet")))
        with duckdb.connect() as con:
            return con.read_parquet(paths).to_arrow_table().to_pylist() if paths else []

    def offsets(self) -> dict[int, int]:
        return {number: found.offset for number, found in self.committed().items() if found}

    def sent(self) -> set[tuple[int, int]]:
        return {(number, offset) for number, end in self.ends().items() for offset in range(end)}


def place(row: dict[str, Any]) -> tuple[int, int]:
    _, partition, offset = row["id"].rsplit("-", 2)
    return int(partition), int(offset)


@pytest.fixture
def topic(whole_kafka: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drained]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", whole_kafka)
    made = Drained(whole_kafka, f"d{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}", tmp_path, partitions=3)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            made.kill(worker)


def test_a_drain_publishes_a_row_for_every_message_and_the_next_one_goes_on_behind_it(topic: Drained) -> None:
    topic.send([claim(f"line {index}", f"m{index}") for index in range(20)])
    assert topic.drain().exit_code == 0
    rows = topic.rows()
    assert {place(row) for row in rows} == topic.sent() and len(rows) == 20
    assert {json.loads(row["input"])["claim"] for row in rows} == {f"m{index}" for index in range(20)}
    assert all(Path(row["uri"]).stat().st_size == row["outputs"][0]["bytes"] for row in rows)
    assert topic.offsets() == topic.ends()
    assert topic.drain().rows == 0, "nothing has come since"
    assert len(ranges.records(Store(str(topic.root)))) == 1
    topic.send([claim("one more")])
    again = topic.drain()
    assert (again.exit_code, again.rows, again.done) == (0, 1, 1)
    assert len(topic.rows()) == 21 and topic.offsets() == topic.ends()
    told = statuses.status(str(topic.root), SETTINGS)
    assert (told.counts.rows, told.counts.done, told.published_rows, told.ranges, told.unfinished) == (21, 21, 21, 2, False)
    assert told.source == topic.source


def test_what_is_no_claim_and_what_cannot_be_done_are_failures_that_a_drain_moves_past(topic: Drained) -> None:
    bad: dict[str, list[bytes | None]] = {
        "bad_message": [b"\xff", None, b'{"version": 2, "inputs": {"text": "x"}}', b'{"version": 1, "inputs": {"text": "\\u0000"}}'],
        "engine_error": [claim("please fail", fail_on="fail")],
        "unknown_voice": [claim("hello", voice="nobody")],
        "bad_option": [claim("hello", speeed=2)],
        "empty_text": [claim("")],
    }
    topic.send([value for values in bad.values() for value in values] + [claim("well said")])
    summary = topic.drain(to_topic=True)
    assert summary.failed == {code: len(values) for code, values in bad.items()} and summary.done == 1
    replies = topic.replies(9)
    assert Counter(reply.get("code", "done") for reply in replies) == Counter({**summary.failed, "done": 1})
    assert {reply["topic"] for reply in replies if reply["status"] == "failed"} == {topic.failures}
    assert topic.offsets() == topic.ends()


def test_into_a_topic_each_message_gets_the_reply_that_a_stream_gives(topic: Drained) -> None:
    bad = [b"poison", claim("hello", "v", voice="nobody"), claim("hello", voice="nobody"), claim("fail", "f", fail_on="fail")]
    bad += [claim("hello", "o", speeed=2), b'{"version": 1, "inputs": {}}', b'{"version": 2, "inputs": {"text": "x"}}']
    topic.send([claim(f"line {index}", f"m{index}") for index in range(12)] + bad, [("traceparent", b"00-ab")])
    assert topic.drain(to_topic=True).exit_code == 0
    drained = {reply["source"]["offset"] * 3 + reply["source"]["partition"]: reply for reply in topic.replies(19)}
    assert len(drained) == 19
    other = Drained(topic.servers, f"{topic.input}-s", topic.folder / "s", partitions=3)
    (topic.folder / "s").mkdir()
    other.input, other.workers = topic.input, topic.workers
    other.start("-O", "normalize=false")
    streamed = {reply["source"]["offset"] * 3 + reply["source"]["partition"]: reply for reply in other.replies(19)}
    own = ("topic", "outputs")
    assert {n: {k: v for k, v in reply.items() if k not in own} for n, reply in drained.items()} == {
        n: {k: v for k, v in reply.items() if k not in own} for n, reply in streamed.items()
    }
    assert {"voice", "speeed", "inputs", "version"} <= {reply.get("field") for reply in drained.values()}
    digests = [{n: [one["sha256"] for one in reply.get("outputs", ())] for n, reply in some.items()} for some in (drained, streamed)]
    assert digests[0] == digests[1]


def test_the_topic_of_failures_is_a_source_that_tries_them_again(topic: Drained) -> None:
    audio = topic.folder / "late.wav"
    topic.send([json.dumps({"version": 1, "id": "late", "inputs": {"audio": str(audio)}}).encode()])
    assert topic.drain(to_topic=True, operation="transcribe").failed == {"input_not_found": 1}
    _write_wav(audio)
    again = f"kafka://{topic.failures}?group={topic.group}-again"
    summary = topic.drain(operation="transcribe", source=again, out=str(topic.folder / "again"))
    assert (summary.done, summary.failed, summary.rows) == (1, {}, 1)


def test_inline_audio_is_kept_with_the_range_and_equal_audio_is_worked_once(topic: Drained) -> None:
    audio = topic.folder / "a.wav"
    _write_wav(audio)
    data = base64.b64encode(audio.read_bytes()).decode()
    topic.send([json.dumps({"version": 1, "inputs": {"audio": {"data": data}}}).encode()] * 3)
    audio.unlink()
    summary = topic.drain(operation="transcribe")
    assert (summary.done, summary.made) == (3, 1)


def test_a_message_that_waits_for_what_may_pass_keeps_the_range_open(topic: Drained) -> None:
    audio = topic.folder / "changing.wav"
    audio.write_bytes(b"not yet")
    wanted = topic.folder / "wanted.wav"
    _write_wav(wanted)
    version = f"sha256:{hashlib.sha256(wanted.read_bytes()).hexdigest()}"
    topic.send([json.dumps({"version": 1, "inputs": {"audio": {"uri": str(audio), "version": version}}}).encode()])
    with pytest.raises(WavemillError) as caught:
        topic.drain(operation="transcribe")
    assert caught.value.code == "incomplete"
    assert topic.rows() == [] and sum(topic.offsets().values()) == 0
    assert statuses.status(str(topic.root), SETTINGS).unfinished
    audio.write_bytes(wanted.read_bytes())
    assert topic.drain(operation="transcribe").done == 1
    assert topic.offsets() == topic.ends()


def test_a_range_that_was_stopped_is_finished_first_from_what_was_stored(topic: Drained) -> None:
    topic.send([claim(f"line {index}") for index in range(9)])
    assert topic.drain_until("ready", unit_items=1, options={"delay_s": 0.3}).exit_code == 130
    assert topic.rows() == [] and sum(topic.offsets().values()) == 0
    _forget(topic)
    topic.send([claim(f"late {index}") for index in range(3)])
    summary = topic.drain(options={"delay_s": 0.3}, unit_items=1)
    assert (summary.rows, summary.done, summary.published) == (12, 12, True)
    assert len(ranges.records(Store(str(topic.root)))) == 2
    assert {place(row) for row in topic.rows()} == topic.sent() and len(topic.rows()) == 12
    assert topic.offsets() == topic.ends()


def test_a_drain_stopped_between_its_work_and_its_topic_answers_each_message_once(topic: Drained) -> None:
    topic.send([claim(f"line {index}") for index in range(9)])
    assert topic.drain_until("done", to_topic=True).exit_code == 130
    assert sum(topic.offsets().values()) == 0
    assert topic.drain(to_topic=True).exit_code == 0
    replies = topic.replies(9)
    assert len(replies) == 9 and not doubled(replies)


def test_a_limit_makes_a_drain_of_so_many_messages(topic: Drained) -> None:
    topic.send([claim(f"line {index}") for index in range(10)])
    taken = [topic.drain(limit=4).rows for _ in range(4)]
    assert taken == [4, 4, 2, 0]
    assert {place(row) for row in topic.rows()} == topic.sent() and len(topic.rows()) == 10


def test_a_group_is_drained_into_one_out(topic: Drained) -> None:
    topic.send([claim("hello")])
    topic.drain()
    other = topic.folder / "other"
    with pytest.raises(WavemillError) as caught:
        topic.drain(out=str(other))
    assert caught.value.code == "bad_usage" and str(topic.root) in caught.value.detail
    assert not list(other.rglob("*.json"))
    with pytest.raises(WavemillError, match="group"):
        topic.drain(source=f"kafka://{topic.input}?group=another")
    topic.send([claim("for nobody else")])
    worker = topic.start()
    assert worker.wait(60) == 2 and str(topic.root) in topic.log(worker)


def test_a_group_that_others_read_with_is_not_drained(topic: Drained) -> None:
    topic.send([claim("hello")])
    topic.start()
    topic.replies(1)
    with pytest.raises(WavemillError) as caught:
        topic.drain()
    assert caught.value.code == "bad_usage"


def test_what_a_transaction_left_behind_without_a_message_is_passed(topic: Drained) -> None:
    producer = kafka.KafkaProducer(bootstrap_servers=topic.servers, transactional_id=topic.input)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic.input, value=claim("never"), partition=0)
    producer.flush()
    producer.abort_transaction()
    producer.close()
    assert topic.drain().rows == 0
    assert topic.offsets() == topic.ends() != {0: 0, 1: 0, 2: 0}


def test_of_two_drains_that_write_the_same_the_first_is_fenced(topic: Drained) -> None:
    topic.send([claim("hello")] * 2, keys=1)
    topic.drain()
    number, end = max(topic.ends().items(), key=lambda item: item[1])
    span = ranges.Range(2, topic.input, {number: Span(end, end + 2)}, 2)
    out, id = Topic(topic.output, failures=topic.failures), json.loads((topic.root / ranges.ROOT).read_text())["id"]
    one, two = (Group(Topic(topic.input, topic.group), out, Store(str(topic.root)), id, KafkaAccess.here()) for _ in range(2))

    def answers() -> list[Answer]:
        return [
            (Message(topic.input, number, end + n, None, b"", ()), Record(topic.output, None, json.dumps({"id": n}).encode()))
            for n in range(2)
        ]

    def late() -> Iterable[Answer]:
        assert two.deliver(span, answers(), Control())
        yield from answers()

    with pytest.raises(WavemillError) as caught:
        one.deliver(span, late(), Control())
    assert caught.value.code == "worker_fenced"
    assert one.deliver(span, answers(), Control()), "what is answered already is passed over"
    one.close()
    two.close()
    assert sorted(reply["id"] for reply in topic.replies(2)) == [0, 1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("shard", "0/2"), ("columns", {"text": "x"}), ("work", "elsewhere"), ("out", "kafka://x"), ("source", "kafka://no-such?group=g")],
)
def test_what_a_drain_cannot_be_is_refused_before_anything_is_written(topic: Drained, field: str, value: Any) -> None:
    with pytest.raises(WavemillError) as caught:
        topic.drain(**{field: value})
    assert caught.value.code == "bad_usage"
    assert not list(topic.root.rglob("*.json"))


def test_plan_says_what_a_drain_would_do_and_writes_nothing(topic: Drained) -> None:
    topic.send([claim(f"line {index}") for index in range(4)] + [b"poison"])
    made = draining.preview(topic.spec(), SETTINGS, topic.folder, probe=False)
    assert (made.rows, made.wanted, made.refused) == (5, 4, {"bad_message": 1})
    assert not topic.root.exists() and topic.offsets() == {}


def _forget(topic: Drained) -> None:
    """Kafka drops what was sent so far."""
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=topic.servers)
    admin.delete_records({kafka.TopicPartition(topic.input, number): end for number, end in topic.ends().items() if end})
    admin.close()


def _write_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\1" * 16_000)
