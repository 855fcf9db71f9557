"""`wavemill stream` under bad input: topics, messages and names that are wrong, and what becomes of them."""

from __future__ import annotations

import base64
import hashlib
import json
import wave
from pathlib import Path
from typing import Any

import fsspec
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from benchmarks.topics import Stream, claim, doubled, wait_for
from sinks import replies as models
from sources import claims


def heard(path: Path) -> bytes:
    """A claim of an audio file."""
    return json.dumps({"version": 1, "id": path.stem, "inputs": {"audio": str(path)}}).encode()


def write_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))


def again(stream: Stream, failures: str) -> Stream:
    """A stream of what failed."""
    other = Stream(stream.servers, f"{stream.input}-again", stream.folder, partitions=1)
    other.input, other.group, other.workers = failures, f"{stream.group}-again", stream.workers
    return other


def test_a_topic_of_failures_is_tried_again_and_what_fails_again_holds_the_first_message(stream: Stream) -> None:
    late, never = stream.folder / "late.wav", stream.folder / "never.wav"
    long = json.dumps({"version": 2, "inputs": {"audio": "x" * models.ORIGINAL_BYTES}}).encode()
    stream.send([heard(late), heard(never), long], [("traceparent", b"00-ab")])
    first = stream.start(operation="transcribe")
    failed = stream.replies(3)
    assert sorted(reply["code"] for reply in failed) == ["bad_message", "input_not_found", "input_not_found"]
    assert stream.stop(first) == 0
    write_wav(late)
    second = again(stream, stream.failures)
    second.start(operation="transcribe")
    found = {reply["id"]: reply for reply in second.replies(3)}
    assert {name: (reply["status"], reply.get("code")) for name, reply in found.items()} == {
        "late": ("done", None),
        "never": ("failed", "input_not_found"),
        "": ("failed", "bad_message"),
    }
    assert base64.b64decode(found["never"]["original"]) == heard(never)
    assert Path(found[""]["original_uri"]).read_bytes() == long
    assert {reply["source"]["topic"] for reply in found.values()} == {stream.failures}
    assert all(reply["headers"] == [("traceparent", b"00-ab")] for reply in found.values())


def test_messages_with_names_longer_than_any_topic_takes_are_refused_and_hold_nothing_up(stream: Stream) -> None:
    producer = KafkaProducer(bootstrap_servers=stream.servers, acks="all")
    wide = json.dumps({"version": 1, "inputs": {"n" * 600_000: "x"}}).encode()
    named = json.dumps({"version": 1, "id": "i" * 900_000, "inputs": {"text": "x"}}).encode()
    choosy = json.dumps({"version": 1, "inputs": {"text": "x"}, "options": {"voice": "v" * 900_000}}).encode()
    for value in (wide, named, choosy):
        producer.send(stream.input, key=b"k", value=value)
    producer.send(stream.input, key=b"k" * 900_000, value=claim("key", "key"))
    producer.send(stream.input, key=b"k", value=claim("headers", "headers"), headers=[("h", bytes(900_000))])
    producer.send(stream.input, key=b"k" * claims.CARRIED_BYTES, value=claim("fits", "fits"))
    producer.close()
    stream.start()
    replies = stream.replies(6)
    assert [reply["id"] for reply in replies if reply["status"] == "done"] == ["fits"]
    failed = [reply for reply in replies if reply["status"] == "failed"]
    assert sorted(reply["code"] for reply in failed) == ["bad_message"] * 4 + ["unknown_voice"]
    assert sum("key and headers are" in reply["detail"] for reply in failed) == 2
    originals = {Path(reply["original_uri"]).read_bytes() for reply in failed if reply["original_uri"]}
    assert originals == {wide, named, choosy}


@pytest.mark.usefixtures("whole_kafka")
@pytest.mark.slow
def test_a_topic_that_takes_no_message_so_long_is_named_and_nothing_is_lost_or_marked(stream: Stream) -> None:
    with KafkaAdminClient(bootstrap_servers=stream.servers) as admin:
        small, large = f"{stream.failures}-small", {"max.message.bytes": "1048588"}
        admin.create_topics({small: {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "20000"}}})
        stream.failures = small
        stream.send([claim("one", "one"), b"x" * 30_000, claim("two", "two")], keys=1)
        first = stream.start()
        assert first.wait(60) == 3
        assert f"the topic {small} does not take a message of" in stream.log(first) and "max.message.bytes" in stream.log(first)
        assert {found.metadata for found in stream.committed().values() if found} <= {""}
        _alter(admin, small, large)
    second = stream.start()
    replies = stream.replies(3)
    assert sorted(reply["id"] for reply in replies) == ["", "one", "two"] and not doubled(replies)
    assert "workers ended over" not in stream.log(second)


def _alter(admin: KafkaAdminClient, topic: str, configs: dict[str, Any]) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])


def test_a_topic_that_is_made_a_little_late_is_waited_for(stream: Stream) -> None:
    late = stream.output = f"{stream.output}-late"
    stream.send([claim("one", "one")])
    worker = stream.start()
    wait_for(lambda: f"no topic {late}" in stream.log(worker))
    with KafkaAdminClient(bootstrap_servers=stream.servers) as admin:
        admin.create_topics({late: {"num_partitions": 1, "replication_factor": 1}})
    assert [reply["id"] for reply in stream.replies(1)] == ["one"]


@pytest.mark.usefixtures("whole_kafka")
@pytest.mark.slow
def test_of_two_living_workers_of_one_name_the_older_ends_and_nothing_is_doubled(stream: Stream) -> None:
    count = 60
    stream.send([claim(f"line {index}", str(index), delay_s=0.1) for index in range(count)])
    older = stream.start("--worker", "one", "--max-poll", "4", "--workers", "1")
    wait_for(lambda: any(found and found.offset for found in stream.committed().values()))
    newer = stream.start("--worker", "one", "--max-poll", "4", "--workers", "1")
    assert older.wait(60) == 3
    assert "worker_fenced" in stream.log(older)
    replies = stream.replies(count, 120)
    assert sorted(int(reply["id"]) for reply in replies) == list(range(count)) and not doubled(replies)
    assert newer.poll() is None


@pytest.mark.usefixtures("whole_kafka")
@pytest.mark.slow
def test_outputs_in_an_object_store_are_whole_after_a_worker_was_killed(stream: Stream, s3: str) -> None:
    count = 40
    stream.send([claim(f"line {index}", str(index), delay_s=0.1) for index in range(count)])
    first = stream.start("--worker", "one", "--max-poll", "4", "-o", s3)
    wait_for(lambda: any(found and found.offset for found in stream.committed().values()))
    stream.kill(first)
    second = stream.start("--worker", "one", "--max-poll", "4", "-o", s3)
    replies = stream.replies(count, 120)
    assert sorted(int(reply["id"]) for reply in replies) == list(range(count)) and not doubled(replies)
    assert stream.stop(second) == 0
    store = fsspec.filesystem("s3", use_listings_cache=False)
    for reply in replies:
        (output,) = reply["outputs"]
        assert output["uri"].startswith(f"{s3}/blobs/")
        assert hashlib.sha256(store.cat_file(output["uri"])).hexdigest() == output["sha256"]
