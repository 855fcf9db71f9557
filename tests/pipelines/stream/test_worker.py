"""`wavemill stream` against a real Kafka: each message has exactly one committed outcome, whatever happens to the workers."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.measure import WAVEMILL
from benchmarks.topics import Stream, a_broker, claim, doubled, wait_for
from sinks import replies as models


@pytest.mark.usefixtures("whole_kafka")
def test_each_message_gets_one_result_with_its_key_and_headers_and_the_group_stands_behind_it(stream: Stream) -> None:
    stream.send([claim(f"line {index}", f"m{index}") for index in range(20)], [("traceparent", b"00-ab"), ("reply-to", b"me")])
    worker = stream.start()
    replies = stream.replies(20)
    assert sorted(reply["id"] for reply in replies) == sorted(f"m{index}" for index in range(20))
    assert doubled(replies) == []
    for reply in replies:
        index = int(reply["id"][1:])
        assert reply["status"] == "done" and reply["topic"] == stream.output
        assert reply["record_key"] == b"k%d" % (index % 7)
        assert reply["headers"] == [("traceparent", b"00-ab"), ("reply-to", b"me")]
        (output,) = reply["outputs"]
        assert Path(output["uri"]).stat().st_size == output["bytes"]
    assert stream.stop(worker) == 0
    committed = stream.committed()
    assert {n: found.offset for n, found in committed.items() if found} == {n: end for n, end in stream.ends().items() if end}
    assert all(found.metadata == "" for found in committed.values() if found), "an orderly end leaves no mark"


def test_results_of_one_key_stand_in_the_order_of_their_messages(stream: Stream) -> None:
    stream.send([claim(f"line {index}", str(index)) for index in range(60)], keys=3)
    stream.start("--max-poll", "7")
    said: dict[bytes, list[int]] = {}
    for reply in stream.replies(60):
        said.setdefault(reply["record_key"], []).append(int(reply["id"]))
    assert said == {b"k%d" % key: list(range(key, 60, 3)) for key in range(3)}


def test_equal_messages_have_an_outcome_each_and_share_key_and_blob(stream: Stream) -> None:
    stream.send([claim("said twice", "a"), claim("said twice", "b"), claim("said once", "c")])
    stream.start()
    found = {reply["id"]: reply for reply in stream.replies(3)}
    assert set(found) == {"a", "b", "c"}
    assert found["a"]["key"] == found["b"]["key"] != found["c"]["key"]
    assert found["a"]["outputs"] == found["b"]["outputs"]
    assert len(list((stream.folder / "out" / "blobs").rglob("*.wav"))) == 2


def test_what_is_no_claim_and_what_cannot_be_done_goes_to_failures_with_its_bytes(stream: Stream) -> None:
    long = b'{"version": 1, "inputs": {"text": "' + b"x" * (models.ORIGINAL_BYTES + 1)
    bad = {
        "bad_message": [
            b"\xff not JSON",
            b'{"version": 2, "inputs": {"text": "x"}}',
            b'{"version": 1, "inputs": {"txt": "x"}}',
            None,
            long,
        ],
        "engine_error": [claim("please fail", fail_on="fail")],
        "unknown_voice": [claim("hello", voice="nobody")],
        "bad_option": [claim("hello", speeed=2)],
    }
    originals = [value for values in bad.values() for value in values]
    stream.send([*originals, claim("all is well")])
    stream.start()
    replies = stream.replies(len(originals) + 1)
    assert [reply["topic"] for reply in replies].count(stream.output) == 1
    failed = [
        models.REPLY.validate_json(json.dumps({k: v for k, v in r.items() if k in models.Failed.model_fields}))
        for r in replies
        if r["status"] == "failed"
    ]
    assert all(isinstance(one, models.Failed) and one.detail for one in failed)
    kept = [
        (f.code, f.original if not f.original_uri else Path(f.original_uri).read_bytes()) for f in failed if isinstance(f, models.Failed)
    ]
    assert sorted(kept, key=repr) == sorted([(code, value) for code, values in bad.items() for value in values], key=repr)


def test_a_fault_of_elsewhere_is_tried_again_and_never_given_up(stream: Stream) -> None:
    recording = stream.folder / "late.wav"
    stream.send([json.dumps({"version": 1, "id": "x", "inputs": {"audio": {"uri": "http://127.0.0.1:1/none.wav"}}}).encode()])
    worker = stream.start(operation="transcribe")
    wait_for(lambda: stream.log(worker).count("input_unavailable") >= 2)
    assert stream.replies(1, patience_s=1) == []
    assert stream.stop(worker) == 0
    assert not recording.exists()


def test_small_audio_comes_inline(stream: Stream, tmp_path: Path) -> None:
    import base64

    import numpy as np
    import soundfile

    path = tmp_path / "tone.wav"
    soundfile.write(path, np.sin(np.arange(16000) / 10).astype(np.float32), 16000)
    data = base64.b64encode(path.read_bytes()).decode()
    values = [
        {"version": 1, "id": "inline", "inputs": {"audio": {"data": data}}},
        {"version": 1, "id": "uri", "inputs": {"audio": str(path)}},
    ]
    stream.send([json.dumps(value).encode() for value in values])
    stream.start(operation="transcribe")
    found = {reply["id"]: reply["fields"]["text"] for reply in stream.replies(2)}
    assert found["inline"] == found["uri"] == "1.000 seconds, peak 1.00"


@pytest.mark.usefixtures("whole_kafka")
@pytest.mark.slow
def test_a_message_that_kills_its_worker_three_times_is_found_and_set_aside(stream: Stream) -> None:
    stream.send([claim(f"line {index}", str(index), crash_on="poison") for index in range(12)])
    stream.send([claim("poison", "killer", crash_on="poison")])
    deaths = 0
    worker = stream.start()
    deadline_s = time.monotonic() + 120
    while len(replies := stream.replies(13, patience_s=2)) < 13 and time.monotonic() < deadline_s:
        if worker.poll() is not None:
            deaths += 1
            worker = stream.start()
    assert deaths == 3
    failed = [reply for reply in replies if reply["status"] == "failed"]
    assert [(reply["id"], reply["code"]) for reply in failed] == [("killer", "engine_crashed")]
    assert sorted(reply["id"] for reply in replies) == sorted(["killer", *map(str, range(12))])
    assert worker.poll() is None, "the last worker lives on"


def measured(stream: Stream, worker: subprocess.Popen[bytes]) -> float:
    """Results that a worker says it has committed."""
    port = re.search(r"metrics and health at port (\d+)", stream.log(worker))
    if port is None:
        return 0.0
    text = httpx.get(f"http://127.0.0.1:{port[1]}/metrics").text
    found = re.search(r'messages_total\{outcome="done"\} (\S+)', text)
    return float(found[1]) if found else 0.0


def test_metrics_and_health_are_told_over_http(stream: Stream) -> None:
    stream.send([claim("one"), claim("two"), b"none"])
    worker = stream.start("--metrics", "127.0.0.1:0")
    assert len(stream.replies(3)) == 3
    wait_for(lambda: measured(stream, worker) == 2)
    port = re.search(r"port (\d+)", stream.log(worker))
    assert port
    health = httpx.get(f"http://127.0.0.1:{port[1]}/healthz")
    assert (health.status_code, health.json()) == (200, {"healthy": True, "state": "running"})
    told = httpx.get(f"http://127.0.0.1:{port[1]}/metrics").text
    assert 'wavemill_stream_messages_total{outcome="bad_message"} 1.0' in told
    assert re.search(r'wavemill_stream_lag_messages\{partition="\d"\} 0.0', told)


@pytest.mark.slow
def test_a_batch_under_way_ends_before_the_worker_does_and_one_that_takes_too_long_is_left_to_the_next(stream: Stream) -> None:
    stream.send([claim(f"line {index}", str(index), delay_s=1) for index in range(4)], keys=1)
    first = stream.start("--workers", "1", "--drain", "20")
    wait_for(lambda: any(found and found.metadata for found in stream.committed().values()))
    assert stream.stop(first) == 0
    assert len(stream.replies(4, 10)) == 4
    stream.send(
        [claim(f"{index}. " + "Another sentence of some length stands here. " * 200, f"long {index}", delay_s=1) for index in range(4)],
        keys=1,
    )
    second = stream.start("--workers", "1", "--drain", "2")
    wait_for(lambda: any(found and found.metadata for found in stream.committed().values()))
    began_s = time.monotonic()
    assert stream.stop(second) == 0
    assert time.monotonic() - began_s < 15
    assert len(stream.replies(8, 3)) == 4
    assert all(found.metadata == "" for found in stream.committed().values() if found), "a worker that was told to stop did not die"


@pytest.mark.slow
@pytest.mark.kafka
def test_a_broker_that_is_away_at_the_start_is_waited_for(tmp_path: Path, java_kafka: None) -> None:
    with a_broker() as (broker, _):
        stream = Stream(broker.servers, "away", tmp_path)
        stream.send([claim(f"line {index}", str(index)) for index in range(20)])
        broker.kill()
        worker = stream.start("--max-poll", "8")
        wait_for(lambda: f"waiting for {stream.servers}" in stream.log(worker))
        broker.start_again()
        replies = stream.replies(20, 120)
        assert doubled(replies) == []
        assert sorted(int(reply["id"]) for reply in replies) == list(range(20))


def test_a_topic_that_is_not_there_is_named(stream: Stream) -> None:
    stream.output = "nowhere"
    worker = stream.start()
    assert worker.wait(60) == 2
    assert "no topic nowhere" in stream.log(worker)


def test_a_worker_waits_for_a_broker_that_is_down_and_says_so(kafka_server: str, tmp_path: Path) -> None:
    command = [*WAVEMILL, "stream", "synthesize", "-e", "echo", "--no-pull"]
    command += ["--input", "a", "--output", "b", "--failures", "c", "--group", "g", "--brokers", "127.0.0.1:1", "-o", str(tmp_path)]
    with open(tmp_path / "log", "wb") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log)
    wait_for(lambda: "waiting for 127.0.0.1:1" in (tmp_path / "log").read_text())
    worker.terminate()
    assert worker.wait(30) == 0
