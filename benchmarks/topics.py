"""A broker of our own, three topics, the workers between them, and what is committed: for `make prove-delivery` and the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.measure import ENVIRONMENT, WAVEMILL
from pipelines.dev import kafka, process, services

PATIENCE_S = 60.0
Place = tuple[int, int]
"""Partition and offset of an input message."""


def claim(text: str, id: str = "", **options: Any) -> bytes:
    return json.dumps({"version": 1, "id": id, "inputs": {"text": text}, "options": options}).encode()


class Broker:
    """An Apache Kafka with its log in `folder`. Raises `bad_usage` where Java or Maven are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = services.start("kafka", folder, kafka.choose_ports())
        self.servers = kafka.environment(self.running.ports)["KAFKA_BOOTSTRAP_SERVERS"]

    def kill(self) -> None:
        """With SIGKILL."""
        if living := process.find(self.running):
            living.kill()
            living.wait(PATIENCE_S)

    def start_again(self) -> None:
        """On the log that it left."""
        self.running = services.start("kafka", self.folder, self.running.ports)


STARTED: list[subprocess.Popen[bytes]] = []
"""All workers of this process's streams."""


def end_workers() -> None:
    """With SIGKILL, children too, where they still live."""
    for worker in STARTED:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@contextmanager
def a_broker() -> Iterator[tuple[Broker, Path]]:
    """A broker for a while, and a folder for a while; workers that still live go with them."""
    with tempfile.TemporaryDirectory(prefix="wavemill-prove-") as name:
        (Path(name) / "kafka").mkdir()
        made = Broker(Path(name) / "kafka")
        try:
            yield made, Path(name)
        finally:
            end_workers()
            process.stop(made.running, patience_s=1)


class Stream:
    """Three topics of a test's own, the workers between them, and what stands in them read committed."""

    def __init__(self, servers: str, name: str, folder: Path, partitions: int = 4) -> None:
        self.servers, self.folder = servers, folder
        self.input, self.output, self.failures, self.group = (f"{name}-{part}" for part in ("in", "out", "failed", "group"))
        self.environment: dict[str, str] = {}
        self.workers: list[subprocess.Popen[bytes]] = []
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_topics(
            [NewTopic(topic, number, 1) for topic, number in ((self.input, partitions), (self.output, partitions), (self.failures, 1))]
        )
        admin.close()

    def send(
        self, values: Sequence[bytes | None], headers: Sequence[tuple[str, bytes]] = (), keys: int = 7, partitions: int | None = None
    ) -> list[Place]:
        """Where each went: to the partition of its key, or in turn to each of so many `partitions`."""
        producer = KafkaProducer(bootstrap_servers=self.servers, acks="all")
        sent = [
            producer.send(
                self.input,
                key=b"k%d" % (index % keys),
                value=value,
                headers=list(headers),
                partition=index % partitions if partitions else None,
            )
            for index, value in enumerate(values)
        ]
        producer.flush()
        producer.close()
        return [(future.value.partition, future.value.offset) for future in sent]

    def start(
        self, *flags: str, operation: str = "synthesize", engine: str = "echo", within: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """A worker; `within` is what is put before its command."""
        given = ["--input", self.input, "--output", self.output, "--failures", self.failures, "--group", self.group]
        options = ["-O", "format=wav", "-O", "piece_s=0.05"] if operation == "synthesize" else []
        place = ["--brokers", self.servers, "-o", str(self.folder / "out"), "--no-pull", "--workers", "2"]
        command = [*within, *WAVEMILL, "stream", operation, "-e", engine, *options, *given, *place, *flags]
        environment = {**ENVIRONMENT, **os.environ, "PYTHONPATH": ENVIRONMENT["PYTHONPATH"], **self.environment}
        with open(self.folder / f"worker-{len(self.workers)}.log", "wb") as log:
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment)
        self.workers.append(worker)
        STARTED.append(worker)
        return worker

    def log(self, worker: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"worker-{self.workers.index(worker)}.log").read_text()

    @staticmethod
    def kill(worker: subprocess.Popen[bytes]) -> None:
        """As a power cut would: children too, also of one that has ended by itself."""
        with suppress(ProcessLookupError):  # nobody of it is left
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop(self, worker: subprocess.Popen[bytes]) -> int:
        worker.terminate()
        return worker.wait(PATIENCE_S)

    def replies(self, expected: int, patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """All committed replies once there are `expected` of them or patience ends; each with its `topic`, `record_key` and `headers`."""
        reader = KafkaConsumer(
            self.output,
            self.failures,
            bootstrap_servers=self.servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        found: list[dict[str, Any]] = []
        deadline_s = time.monotonic() + patience_s
        try:
            while time.monotonic() < deadline_s and len(found) < expected:
                found += [_reply(record) for records in reader.poll(timeout_ms=500).values() for record in records]
            # one more look: nothing is there twice
            for _ in range(3):
                found += [_reply(record) for records in reader.poll(timeout_ms=300).values() for record in records]
        finally:
            reader.close()
        return found

    def committed(self) -> dict[int, Any]:
        reader = KafkaConsumer(bootstrap_servers=self.servers, group_id=self.group)
        try:
            numbers = sorted(reader.partitions_for_topic(self.input))
            return {n: reader.committed(TopicPartition(self.input, n), metadata=True) for n in numbers}
        finally:
            reader.close()

    def ends(self) -> dict[int, int]:
        reader = KafkaConsumer(bootstrap_servers=self.servers)
        try:
            homes = [TopicPartition(self.input, n) for n in sorted(reader.partitions_for_topic(self.input))]
            return {home.partition: end for home, end in reader.end_offsets(homes).items()}
        finally:
            reader.close()


def _reply(record: Any) -> dict[str, Any]:
    return {**json.loads(record.value), "topic": record.topic, "record_key": record.key, "headers": record.headers}


def doubled(replies: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Messages that were answered more than once."""
    places = Counter((reply["source"]["partition"], reply["source"]["offset"]) for reply in replies)
    return [place for place, count in places.items() if count > 1]


def wait_for(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    assert happens(true, patience_s), "it did not happen in time"


def happens(true: Callable[[], bool], patience_s: float) -> bool:
    """Whether it comes true in time."""
    deadline_s = time.monotonic() + patience_s
    while not true():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(0.1)
    return True
