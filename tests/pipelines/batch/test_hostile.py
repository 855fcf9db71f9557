"""Odd names, odd rows and broken state: each was once a way to lose rows or to stop for good."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines.batch import export, lease, run as runs, status
from pipelines.spec import PipelineSpec
from transforms.errors import WavemillError
from transforms.store import Store

from .conftest import SETTINGS, Runner
from .test_bad_input import wav


@pytest.mark.parametrize("name", ["it's", "o?x", "o*x", "o[x]", "a b#c%d"])
def test_an_out_may_have_any_name(tmp_path: Path, name: str) -> None:
    twin = Runner(tmp_path, str(tmp_path / name.replace("?", "1").replace("*", "2").replace("[x]", "x")))
    twin.write([{"text": "one"}])
    twin.run()
    odd = Runner(tmp_path, str(tmp_path / name))
    odd.write([{"text": "one"}, {"text": "two"}])
    assert odd.run().done == odd.run().done == 2
    assert len(odd.manifest()) == 2
    assert runs.publish(odd.out, SETTINGS).rows == 2


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ('{"text": "caf\\u00e9 \\u0000 ol\\u00e9"}', "bad_row"),
        ('{"text": "\\ud800 hi"}', "bad_row"),
        (json.dumps({"text": "x", "voice": "v" * 5_000_000}), "bad_row"),
        (json.dumps({"text": "x" * 5_000_000}), "bad_row"),
        ('{"text": "", "x": ' + "[" * 2000 + "]" * 2000 + "}", "empty_text"),
    ],
    ids=["a NUL", "half a surrogate", "a long option", "a long text", "deep nesting"],
)
def test_one_odd_row_costs_itself(runner: Runner, row: str, code: str) -> None:
    runner.write([{"text": "before"}, row, {"text": "after"}])
    summary = runner.run()
    assert (summary.done, summary.failed, summary.published) == (2, {code: 1}, True)


@pytest.mark.parametrize(
    "text", ["caf\u00e9", "cafe\u0301", "a\U00011f41\u0301", "\u0e01\u0e33", "\U0001e08f\u0323\u0301", "日本語 e\u0323\u0307"]
)
def test_any_letters_have_one_identity_in_sql_and_in_python(runner: Runner, text: str) -> None:
    runner.write([{"text": f"{text} is said"}, {"text": "plain"}])
    assert runner.run().done == 2, "the worker found the key that the plan had"


def test_an_input_of_a_protocol_that_is_not_here_costs_itself(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    runner.write([{"audio": "a.wav"}, {"audio": "ftpx://q/x.wav"}])
    assert runner.run(operation="transcribe").failed == {"input_not_found": 1}


@pytest.mark.parametrize("seconds", ["NaN", "inf", -5, "x"])
def test_a_nonsense_length_is_no_length(runner: Runner, seconds: Any) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    runner.write([{"audio": "a.wav", "duration_s": seconds}])
    assert runner.run(operation="transcribe").done == 1


@pytest.mark.parametrize(
    ("answer", "code"), [(401, "input_forbidden"), (403, "input_forbidden"), (404, "input_not_found"), (410, "input_not_found"), (429, "input_unavailable"), (503, "input_unavailable"), (None, "input_unavailable")]
)  # fmt: skip
def test_what_a_web_server_answers_decides_whether_the_input_is_tried_again(runner: Runner, answer: int | None, code: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(answer or 500)

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}/a.wav?sig=1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    if answer is None:
        server.shutdown()
        server.server_close()
    try:
        runner.write([{"audio": url}])
        assert runner.run(operation="transcribe").failed == {code: 1}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_link_to_nothing_hides_nothing(runner: Runner) -> None:
    folder = runner.folder / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(wav(1))
    (folder / "b.wav").symlink_to("/nowhere")
    (folder / "loop").symlink_to(folder)
    assert runner.run(operation="transcribe", source=str(folder)).rows == 1
    runner.write([{"audio": str(folder / "a.wav")}])
    runner.run(operation="transcribe", allow_shrink=True)
    (folder / "a.wav").write_bytes(wav(2))
    assert runner.run(operation="transcribe").made == 1


def test_an_out_inside_its_source_does_not_feed_on_itself(tmp_path: Path) -> None:
    inside = Runner(tmp_path, str(tmp_path / "in" / "out"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(wav(1))
    fields = {"operation": "convert", "engine": "pyav", "source": str(tmp_path / "in"), "options": {}}
    assert inside.run(**fields).rows == inside.run(**fields).rows == 1


BROKEN: dict[str, Callable[[Path], Path]] = {
    "a part that was cut short": lambda out: next((out / "parts").iterdir()),
    "the plan": lambda out: out / "plan" / "plan.json",
    "the manifest": lambda out: out / "manifest.parquet",
    "a blob": lambda out: next(path for path in (out / "blobs").rglob("*") if path.is_file()),
    "the record of the last run": lambda out: out / "run.json",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_broken_file_of_an_out_is_made_anew_by_the_next_run(runner: Runner, name: str, content: bytes) -> None:
    runner.write([{"text": f"number {index}"} for index in range(8)])
    runner.run()
    whole = runner.blobs()
    BROKEN[name](Path(runner.out)).write_bytes(content)
    if name != "the plan":
        status.status(runner.out, SETTINGS)
    summary = runner.run()
    assert (summary.exit_code, summary.done, len(runner.manifest())) == (0, 8, 8)
    assert runner.blobs() == whole


def test_a_lease_that_cannot_be_read_is_nobodys(runner: Runner) -> None:
    runner.write([{"text": "one"}])
    runner.store.write(lease.DRIVER, b"garbage")
    assert runner.run().done == 1


def test_of_many_who_take_over_one_stale_lease_at_once_one_holds_it(anywhere: Runner) -> None:
    stale = {"holder": "x", "host": "elsewhere", "pid": 1, "started_s": 0, "beat_s": 0, "nonce": "old"}
    for _ in range(5):
        anywhere.store.write(lease.DRIVER, json.dumps(stale).encode())
        barrier = threading.Barrier(4)

        def take(barrier: threading.Barrier) -> lease.Lease | None:
            mine = lease.Lease(Store(anywhere.out), lease.DRIVER, 60.0)
            barrier.wait()
            try:
                return mine.__enter__()
            except WavemillError:
                return None

        with ThreadPoolExecutor(4) as pool:
            held = [found for found in pool.map(take, [barrier] * 4) if found]
        for one in held:
            one.__exit__()
        assert len(held) == 1


def test_a_whole_run_and_shards_do_not_share_an_out(runner: Runner) -> None:
    runner.write([{"text": f"number {index}"} for index in range(6)])
    refused: list[str] = []

    def shard(event: dict[str, Any]) -> None:
        if "done" in event and not refused:
            with pytest.raises(WavemillError) as caught:
                Runner(runner.folder, runner.out).run(shard="0/2")
            refused.append(caught.value.code)

    runner.run(shard)
    assert refused == ["lease_held"]
    with pytest.raises(WavemillError) as caught:
        runner.run(shard="0/2")
    assert caught.value.code == "bad_usage"


@pytest.mark.parametrize("fields", [{"options": {"speed": 1.5}}, {"limit": 3}, {"columns": {"text": "other"}}])
def test_a_shard_of_another_job_is_refused(runner: Runner, fields: dict[str, Any]) -> None:
    runner.write([{"text": f"number {index}", "other": "x"} for index in range(6)])
    runner.run(shard="0/2")
    with pytest.raises(WavemillError, match="differs in") as caught:
        runner.run(shard="1/2", **fields)
    assert caught.value.kind == "usage"


def test_a_manifest_that_is_not_what_its_name_says_is_wrong_usage(runner: Runner) -> None:
    for name in ("bad.parquet", "bad.json"):
        (runner.folder / name).write_text("[nope")
        with pytest.raises(WavemillError) as caught:
            runner.run(source=str(runner.folder / name))
        assert caught.value.code == "bad_usage"
    (runner.folder / "lines.jsonl").write_text('[1]\n{"text": "one"}\n')
    assert runner.run(source=str(runner.folder / "lines.jsonl")).failed == {"bad_row": 1}


def test_an_out_that_is_a_file_or_nothing_is_wrong_usage(runner: Runner) -> None:
    runner.write([{"text": "one"}])
    (runner.folder / "file").write_text("")
    for out in (str(runner.folder / "file"), ""):
        with pytest.raises(WavemillError) as caught:
            runner.run(out=out)
        assert caught.value.code == "bad_usage"
    with pytest.raises(WavemillError):
        PipelineSpec.parse({"operation": "synthesize", "source": "a", "out": "b", "shard": [5, 2]})


def test_an_out_that_was_moved_can_be_exported(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "one"}])
    runner.run()
    moved = runner.folder / "elsewhere" / "moved"
    moved.parent.mkdir()
    os.rename(runner.out, moved)
    assert export.export(str(moved), str(runner.folder / "files"), "{id}.{ext}", SETTINGS) == 1
    assert (runner.folder / "files" / "a.wav").stat().st_size > 0


def test_a_name_that_no_disk_takes_is_refused_before_anything_is_copied(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "one"}, {"id": "b" * 300, "text": "two"}])
    runner.run()
    with pytest.raises(WavemillError) as caught:
        export.export(runner.out, str(runner.folder / "files"), "{id}.{ext}", SETTINGS)
    assert caught.value.code == "bad_usage"
    assert not (runner.folder / "files").exists()


def test_columns_of_a_failed_row_that_are_named_as_ours_are_kept(runner: Runner) -> None:
    mine = {"text": "", "code": "MY", "index": 99, "detail": "mine"}
    runner.write([mine])
    runner.run()
    (line,) = [json.loads(text) for text in (runner.store.read("failures.jsonl") or b"").splitlines()]
    assert (line["code"], line["index"], line["input"]) == ("empty_text", 0, mine)
