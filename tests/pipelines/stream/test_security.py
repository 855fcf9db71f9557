"""`wavemill stream` against an Apache Kafka that asks for passwords and certificates and grants rights one by one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from kafka import TopicPartition
from kafka.admin import ACLOperation, ACLPermissionType, ResourceType
from kafka.errors import TopicAuthorizationFailedError

from benchmarks.topics import Stream, claim, doubled
from pipelines.batch.group import Group
from pipelines.dev import process
from sinks.kafka import Record, Transactions
from sources.topic import Topic
from tests.pipelines.stream.secured import PASSWORD, USER, Secured, start
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess
from transforms.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.kafka]
READ, WRITE = ACLOperation.READ, ACLOperation.WRITE
GROUP, TOPIC, NAME = ResourceType.GROUP, ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID
DEAD = "workers ended over messages"
"""What a worker says of a partition that it finds marked."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, java_kafka: None) -> Iterator[Secured]:
    if shutil.which("openssl") is None:
        pytest.skip("certificates need the program openssl")
    made = start(tmp_path_factory.mktemp("secured"))
    yield made
    process.stop(made.running, patience_s=1)


@pytest.fixture
def stream(secured: Secured, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stream]:
    """Topics that whoever comes without a password may do all to, and the workers nothing yet."""
    made = Stream(secured.at("broker"), f"t{abs(hash(request.node.nodeid)) % 10**8}", tmp_path, partitions=2)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            made.kill(worker)


def rights(stream: Stream, worker: str) -> list[tuple[ResourceType, str, ACLOperation]]:
    writes = [(TOPIC, name, WRITE) for name in (stream.output, stream.failures)]
    return [(TOPIC, stream.input, READ), *writes, (NAME, f"wavemill-{stream.group}-{worker}", WRITE), (GROUP, stream.group, READ)]


def begin(stream: Stream, secured: Secured, listener: str = "scram", worker: str = "one", **how: str) -> subprocess.Popen[bytes]:
    stream.environment = secured.environment(listener, **how)
    return stream.start("--brokers", secured.at(listener), "--worker", worker)


def refused(stream: Stream, worker: subprocess.Popen[bytes], *words: str) -> None:
    """It ended with one line that says so."""
    assert worker.wait(60) == 3
    said = [line for line in stream.log(worker).splitlines() if "broker_unavailable" in line]
    assert len(said) == 1 and all(word in said[0] for word in words), said
    assert "Traceback" not in stream.log(worker)


@pytest.mark.parametrize(("listener", "mechanism"), [("scram", "SCRAM-SHA-512"), ("both", "SCRAM-SHA-256"), ("tls", "")])
def test_a_worker_comes_by_password_or_certificate_and_tells_no_secret(
    stream: Stream, secured: Secured, listener: str, mechanism: str
) -> None:
    secured.grant(*rights(stream, "one"))
    stream.send([claim(f"line {index}", str(index)) for index in range(6)])
    worker = begin(stream, secured, listener, mechanism=mechanism)
    replies = stream.replies(6)
    assert sorted(reply["id"] for reply in replies) == sorted(map(str, range(6))) and not doubled(replies)
    assert stream.stop(worker) == 0
    assert PASSWORD not in stream.log(worker)


def test_a_wrong_password_is_one_clear_error_that_tells_no_secret(stream: Stream, secured: Secured) -> None:
    for listener in ("scram", "both"):
        worker = begin(stream, secured, listener, password="guessed-secret")
        refused(stream, worker, f"user {USER}", "invalid credentials", "WAVEMILL_KAFKA_SASL_PLAIN_PASSWORD")
        assert "guessed-secret" not in stream.log(worker)


def test_another_mechanism_and_certificates_that_do_not_fit_are_told_apart(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(listener: str, **changed: str) -> str:
        for name in [name for name in os.environ if name.startswith("WAVEMILL_KAFKA_")]:
            monkeypatch.delenv(name)
        for name, value in {**secured.environment(listener), **changed}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(WavemillError) as caught:
            Group(Topic("in", "g"), None, Store("out", 1), "", KafkaAccess.here(secured.at(listener)))
        assert caught.value.code == "broker_unavailable"
        return caught.value.detail

    assert "there are SCRAM-SHA" in said("scram", WAVEMILL_KAFKA_SASL_MECHANISM="PLAIN")
    assert "CERTIFICATE_VERIFY_FAILED" in said("both", WAVEMILL_KAFKA_SSL_CAFILE=str(secured.folder / f"{USER}.pem"))
    own = {
        "WAVEMILL_KAFKA_SSL_CERTFILE": str(secured.folder / "broker.pem"),
        "WAVEMILL_KAFKA_SSL_KEYFILE": str(secured.folder / "broker.key"),
    }
    assert "WAVEMILL_KAFKA_SSL_CAFILE" in said("tls", **own)


def test_each_right_that_is_lacking_is_named_and_nothing_is_lost_or_marked(stream: Stream, secured: Secured) -> None:
    stream.send([claim(f"line {index}", str(index)) for index in range(6)])
    read, *writes, name, group = rights(stream, "one")
    both = [f"WRITE on the topic {topic}" for topic in (stream.output, stream.failures)]
    steps = [
        ([read, writes[1]], [f"READ on the topic {stream.input}", *both]),
        ([writes[0]], both[:1]),
        ([name], [f"WRITE on the transactional id wavemill-{stream.group}-one"]),
        ([group], [f"READ on the group {stream.group}"]),
    ]
    for granted, words in steps:
        refused(stream, begin(stream, secured), f"grant {USER} ", *words)
        secured.grant(*granted)
    last = begin(stream, secured)
    replies = stream.replies(6)
    assert sorted(reply["id"] for reply in replies) == sorted(map(str, range(6))) and not doubled(replies)
    assert DEAD not in stream.log(last)


def test_a_right_that_is_taken_away_ends_the_worker_and_leaves_no_mark(stream: Stream, secured: Secured) -> None:
    secured.grant(*rights(stream, "one"), *rights(stream, "two"))
    first = begin(stream, secured)
    stream.send([claim("before", "before")])
    assert len(stream.replies(1)) == 1
    secured.change(ACLPermissionType.DENY, (TOPIC, stream.output, WRITE))
    stream.send([claim(f"line {index}", str(index), delay_s=1) for index in range(4)])
    refused(stream, first, f"WRITE on the topic {stream.output}")
    assert {found.metadata for found in stream.committed().values() if found} <= {""}
    secured.forget(ACLPermissionType.DENY, (TOPIC, stream.output, WRITE))
    second = begin(stream, secured, worker="two")
    replies = stream.replies(5)
    assert sorted(reply["id"] for reply in replies) == ["0", "1", "2", "3", "before"] and not doubled(replies)
    assert DEAD not in stream.log(second)


def test_no_offsets_are_committed_without_the_record_that_they_answer_for(
    stream: Stream, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured.grant((NAME, "w", WRITE), (GROUP, stream.group, READ), (TOPIC, stream.input, READ))
    for name, value in secured.environment("scram").items():
        monkeypatch.setenv(name, value)
    writer = Transactions(KafkaAccess.here(secured.at("scram")).client(), "w", 10)
    with pytest.raises(TopicAuthorizationFailedError):
        writer.commit([Record(stream.output, b"k", b"v")], {TopicPartition(stream.input, 0): (3, "")}, stream.group)
    writer.close()
    assert stream.committed()[0] is None
