"""A run through Beam's own job server and a worker pool, on this machine alone: what needs neither Java nor root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as api, beam_fn_api_pb2_grpc as rpc

from benchmarks.measure import ROOT
from pipelines.batch import plan as plans, run as runs
from pipelines.batch.room import Job
from pipelines.cluster import driver, notes, share, versions
from pipelines.cluster.jobs import JobServer, flags
from pipelines.dev import process
from pipelines.supervised import Control
from tests.pipelines.batch.conftest import SETTINGS, Runner
from transforms.errors import WavemillError, exit_code
from transforms.settings import Settings
from transforms.store import Store

from .conftest import wait_for

DYING = """
import sys
if "pipelines.cluster.worker" in sys.orig_argv:
    sys.exit("the driver of the device is too old")
"""


class Pool:
    """A worker pool in a process of its own."""

    def __init__(self, folder: Path, *options: str, path: str = "") -> None:
        ports = process.choose_ports(("port", "health"))
        self.address, self.health_port = f"localhost:{ports['port']}", ports["health"]
        command = [sys.executable, "-P", "-m", "wavemill", "worker-pool", f"--port={ports['port']}", f"--health-port={ports['health']}"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT), os.environ.get("PYTHONPATH", ""))))}
        self.said = folder / "pool.log"
        with self.said.open("wb") as log:
            self.process = subprocess.Popen([*command, f"--log-dir={folder}", "--name=here", *options], env=environment, stderr=log)

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            answer = httpx.get(f"http://localhost:{self.health_port}/health", trust_env=False, timeout=10)
        except httpx.HTTPError:
            return 0, {}
        return answer.status_code, answer.json()

    def wait(self) -> None:
        wait_for(lambda: self.process.poll() is not None or self.health()[0] == 200, "the pool is not ready")
        assert self.process.poll() is None, self.said.read_text()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path, "--models=whisper-tiny.en") if (Settings().models_dir / "whisper-tiny.en").exists() else Pool(tmp_path)
    pool.wait()
    yield pool
    pool.stop()


@pytest.fixture
def job_server(tmp_path: Path) -> Iterator[str]:
    """Beam's own job server in Python: a real one, and none of Flink."""
    port = process.choose_ports(("port",))["port"]
    command = [sys.executable, "-P", "-m", "apache_beam.runners.portability.local_job_service_main", f"--port={port}"]
    with (tmp_path / "jobs.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        yield f"localhost:{port}"
        server.terminate()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_portable_run_ends_as_a_local_one_in_the_pool_s_workers(tmp_path: Path, s3: str, pool: Pool, job_server: str) -> None:
    there, here = Runner(tmp_path, f"{s3}/there"), Runner(tmp_path, f"{s3}/here")
    there.write([{"id": f"i{index}", "text": f"line {index}"} for index in range(12)])
    Store(s3).upload(there.source, "manifest.jsonl")
    beam_options = ("environment_type=EXTERNAL", f"environment_config={pool.address}")
    settings = SETTINGS.model_copy(update={"runner": "portable", "endpoint": job_server, "beam_options": beam_options})
    given: dict[str, Any] = {"source": f"{s3}/manifest.jsonl", "options": {"fail_on": "line 7"}}
    summary = runs.run(there.spec(**given), settings, there.heard, Control())
    assert (summary.state, summary.done, summary.made, summary.failed) == ("failures", 11, 12, {"engine_error": 1})
    here.run(**given)
    assert [row["key"] for row in there.manifest()] == [row["key"] for row in here.manifest()]
    assert there.blobs() == here.blobs()
    # progress is that of a local run
    done = [{e["done"]: (e["items"], e["failed"], e["audio_s"]) for e in one.heard.events if "done" in e} for one in (there, here)]
    assert done[0] == done[1] and len(done[0]) == 3
    assert not [entry for entry in there.store.entries(notes.ROOT) if entry.bytes] and pool.health()[1]["started"] == 1


def engine_processes(pool: Pool) -> set[int]:
    found = set[int]()
    for worker in pool.health()[1].get("workers", []):
        with suppress(psutil.NoSuchProcess):
            found |= {child.pid for child in psutil.Process(worker["pid"]).children() if "pipelines.batch.child" in child.cmdline()}
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pool_of_two_copies_works_two_jobs_at_once_and_replaces_engine_processes_that_hold_too_much(
    tmp_path: Path, s3: str, job_server: str
) -> None:
    pool = Pool(tmp_path, "--memory-limit-mb=1", "--copies=2", "--workers=1")
    try:
        pool.wait()
        jobs = [Runner(tmp_path, f"{s3}/{name}") for name in ("one", "other")]
        jobs[0].write([{"text": f"line {index}"} for index in range(6)])
        Store(s3).upload(jobs[0].source, "small.jsonl")
        beam_options = ("environment_type=EXTERNAL", f"environment_config={pool.address}")
        settings = SETTINGS.model_copy(update={"runner": "portable", "endpoint": job_server, "beam_options": beam_options})
        given: dict[str, Any] = {"source": f"{s3}/small.jsonl", "unit_items": 1, "options": {"delay_s": 1.0}}
        engines, most = set[int](), 0
        with ThreadPoolExecutor(2) as drivers:
            futures = [drivers.submit(runs.run, job.spec(**given), settings, job.heard, Control()) for job in jobs]
            while not all(future.done() for future in futures):
                here = engine_processes(pool)
                engines, most = engines | here, max(most, len(here))
                time.sleep(0.1)
        assert most == 2 and len(engines) > 2
        for job, future in zip(jobs, futures, strict=True):
            summary = future.result()
            assert (summary.state, summary.made, summary.deaths) == ("done", 6, 0)
            assert len(job.heard.units) == len(set(job.heard.units)) == 6
    finally:
        pool.stop()


def test_what_this_machine_alone_has_is_refused_with_what_to_do(tmp_path: Path) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"text": "one"}])
    settings = SETTINGS.model_copy(update={"runner": "flink", "endpoint": "localhost:1"})
    with pytest.raises(WavemillError, match="put it on object storage") as caught:
        driver.check(settings, runner.out, str(runner.source))
    assert (caught.value.code, caught.value.field) == ("bad_usage", "out")
    with pytest.raises(WavemillError, match="put it on object storage") as caught:
        driver.check(settings, "s3://bucket/out", str(runner.source))
    assert caught.value.field == "source"
    with pytest.raises(WavemillError, match="--endpoint HOST:PORT"):
        driver.check(SETTINGS.model_copy(update={"runner": "flink"}), "s3://bucket/out", "kafka://topic?group=g")


def test_audio_on_this_machine_in_a_manifest_elsewhere_is_refused(tmp_path: Path) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"audio": "s3://bucket/a.wav"}, {"audio": str(tmp_path / "b.wav")}])
    plan = plans.make(runner.spec(operation="transcribe"), SETTINGS, runner.store, tmp_path)
    assert plan.refs
    with pytest.raises(WavemillError, match=r"b\.wav is on this machine") as caught:
        driver._refuse_local(Job(runner.out, "transcribe", "echo", plan.work, SETTINGS), tmp_path / "work.parquet")
    assert (caught.value.code, caught.value.field) == ("bad_usage", "audio")


def test_a_saved_voice_on_this_machine_is_refused_and_one_elsewhere_is_told_to_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"options": ['{"voice": "af_bella"}', '{"voice": "af_bella+uv_0123456789ab"}']}), tmp_path / "work.parquet")
    job = Job("s3://bucket/out", "synthesize", "kokoro", "w", SETTINGS.model_copy(update={"voices": str(tmp_path)}))
    with pytest.raises(WavemillError, match="the voice uv_0123456789ab is in") as caught:
        driver._refuse_local(job, tmp_path / "work.parquet")
    assert (caught.value.code, caught.value.field) == ("bad_usage", "voice")
    elsewhere = SETTINGS.model_copy(update={"voices": "s3://bucket/voices"})
    driver._refuse_local(replace(job, settings=elsewhere), tmp_path / "work.parquet")
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"text": "one"}])
    plan = plans.make(runner.spec(), SETTINGS, runner.store, tmp_path)
    seen = list[Any]()
    monkeypatch.setattr(share.supervise, "work", lambda *given: seen.append(given[-1]))
    for settings in (SETTINGS, elsewhere):
        share.work(order(runner, plan.work, settings=settings), plan.refs)
    assert seen == [{}, {"WAVEMILL_VOICES": "s3://bucket/voices"}]


def test_an_endpoint_that_does_not_answer_is_an_error_of_ten_seconds() -> None:
    port = process.choose_ports(("port",))["port"]
    server = JobServer(Settings(runner="flink", endpoint=f"localhost:{port}"))
    with pytest.raises(WavemillError, match=rf"no Beam job server answers at localhost:{port} within 10 s") as caught:
        server.check()
    assert caught.value.code == "cluster_unavailable" and exit_code(caught.value) == 3


@pytest.mark.slow
def test_a_job_server_that_is_not_flink_s_is_refused_as_one(job_server: str) -> None:
    with pytest.raises(WavemillError, match="--runner portable") as caught:
        JobServer(Settings(runner="flink", endpoint=job_server)).check()
    assert caught.value.code == "version_mismatch"
    assert JobServer(Settings(runner="portable", endpoint=job_server)).check() == []


def test_a_job_server_with_other_options_than_the_tested_ones_is_warned_of() -> None:
    warning = versions.judge([("org.apache.beam.runners.flink.FlinkPipelineOptions", "parallelism")])
    assert warning and "tried were: Python 2.77 with job server 2.70" in warning


def test_options_of_beam_come_last_and_win() -> None:
    settings = Settings(runner="flink", endpoint="a:1", pool="localhost:7", beam_options=("parallelism=8", "environment_config=b:2"))
    given = flags(settings)
    assert given[-2:] == ["--parallelism=8", "--environment_config=b:2"] and "--environment_type=EXTERNAL" in given


def order(runner: Runner, work: str, settings: Settings = SETTINGS, **changes: Any) -> str:
    job = Job(runner.out, "synthesize", "echo", work, settings, attempts=notes.attempts("t"))
    return replace(share.Order(job.to_json(), "t", [], versions.mine()), **changes).to_json()


def test_a_worker_of_another_version_says_so_before_it_writes_a_result(tmp_path: Path) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"text": "one"}])
    plan = plans.make(runner.spec(), SETTINGS, runner.store, tmp_path)
    other = versions.mine() | {"wavemill": "9.9"}
    with pytest.raises(WavemillError, match=r"wavemill 0\.\d+\.\d+ where the driver has 9\.9") as caught:
        share.work(order(runner, plan.work, versions=other), plan.refs)
    assert caught.value.code == "version_mismatch" and not runner.store.entries("parts")
    (note,) = notes.Inbox(runner.store, "t").read()
    assert (note["kind"], note["code"]) == ("error", "version_mismatch")


def test_a_worker_that_does_not_even_know_the_job_s_settings_says_which_version_it_has(tmp_path: Path) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    sent = json.loads(order(runner, "work", versions=versions.mine() | {"wavemill": "9.9"}))
    sent |= {"later": 1, "job": json.dumps({**json.loads(sent["job"]), "later": 2})}
    with pytest.raises(WavemillError) as caught:
        share.work(json.dumps(sent), [])
    (note,) = notes.Inbox(runner.store, "t").read()
    assert caught.value.code == note["code"] == "version_mismatch"


def test_weights_that_one_host_lacks_are_told_to_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"text": "one"}])
    plan = plans.make(runner.spec(), SETTINGS, runner.store, tmp_path)
    monkeypatch.setenv("WAVEMILL_MODELS_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("WAVEMILL_PULL", "false")
    monkeypatch.setenv("WAVEMILL_POOL_NAME", "host7")
    with pytest.raises(WavemillError):
        share.work(order(runner, plan.work, models=["kokoro-int8"]), plan.refs)
    note = next(note for note in notes.Inbox(runner.store, "t").read() if note["kind"] == "error")
    assert (note["host"], note["code"]) == ("host7", "model_missing")


@pytest.mark.parametrize("items", [1, 3])
def test_a_unit_that_was_begun_three_times_before_is_worked_item_by_item(tmp_path: Path, items: int) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"id": f"i{index}", "text": f"line {index}"} for index in range(items)])
    plan = plans.make(runner.spec(), SETTINGS, runner.store, tmp_path)
    (ref,) = plan.refs
    for _ in range(3):
        notes.mark(runner.store, notes.attempts("t"), ref.unit, ref.n)
    share.work(order(runner, plan.work), plan.refs)
    assert [entry.url for entry in runner.store.entries("parts")] == [f"parts/{ref.unit}-{ref.n}.parquet"]
    assert len(runner.store.entries(notes.attempts("t"))) == 3, "who ends a unit takes its mark away"
    summary = runner.run()
    assert (summary.made, summary.done, summary.failed) == (0, items, {})


SHARE = """
import json, sys
from pipelines.batch.units import Ref
from pipelines.cluster import share

order, refs = json.loads(sys.argv[1])
share.work(order, [Ref(*ref) for ref in refs])
"""


@pytest.mark.parametrize("dies", ["the worker", "its engine process"])
def test_a_mark_stays_of_the_process_that_died_at_work_and_not_of_one_whose_worker_was_taken_away(tmp_path: Path, dies: str) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"text": "one"}])
    plan = plans.make(runner.spec(options={"delay_s": 60}), SETTINGS, runner.store, tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))}
    worker = psutil.Popen([sys.executable, "-P", "-c", SHARE, json.dumps([order(runner, plan.work), plan.refs])], env=environment)
    marks = lambda: len(runner.store.entries(notes.attempts("t")))  # noqa: E731
    try:
        wait_for(lambda: marks() == 1, "nothing was begun")
        (engine,) = [child for child in worker.children() if "pipelines.batch.child" in child.cmdline()]
        (worker if dies == "the worker" else engine).kill()
        engine.wait(30) if dies == "the worker" else wait_for(lambda: marks() == 2, "it was not begun again")
        assert marks() == (0 if dies == "the worker" else 2)
    finally:
        worker.kill()
        worker.wait(30)


def test_two_shares_on_one_host_with_one_copy_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_POOL_FOLDER", str(tmp_path))
    monkeypatch.setenv("WAVEMILL_POOL_DEVICES", "4,5")
    entered = threading.Event()
    with share._copy() as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "4"}

        def second() -> None:
            with share._copy():
                entered.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.5)
    assert entered.wait(30)
    thread.join()
    monkeypatch.setenv("WAVEMILL_POOL_COPIES", "2")
    with share._copy() as first, share._copy() as other:
        assert [one["CUDA_VISIBLE_DEVICES"] for one in (first, other)] == ["4", "5"]


def test_a_worker_outside_of_a_pool_leaves_nothing_in_the_folder_it_runs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with share._copy() as environment:
        assert environment == {}
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_a_pool_tells_its_health_and_ends_with_sigterm(pool: Pool) -> None:
    code, told = pool.health()
    assert code == 200 and told["name"] == "here" and told["versions"] == versions.mine() and told["workers"] == []
    assert pool.stop() == 0


@pytest.mark.slow
def test_a_worker_that_dies_at_start_is_an_answer_with_its_log_and_not_a_silence(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(DYING)
    pool = Pool(tmp_path, path=str(tmp_path))
    try:
        pool.wait()
        with grpc.insecure_channel(pool.address) as channel:
            request = api.StartWorkerRequest(worker_id="1-1")
            request.control_endpoint.url = "localhost:1"
            answer = rpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request, timeout=60)
        assert "the pool on here ended before it was connected (exit code 1)" in answer.error
        assert "the driver of the device is too old" in answer.error
        wait_for(lambda: pool.health()[1]["ended"] == {"exit code 1": 1}, "the dead worker is not counted")
    finally:
        pool.stop()


def test_weights_that_cannot_be_had_end_a_pool_before_it_is_ready(tmp_path: Path) -> None:
    pool = Pool(tmp_path, "--models=no-such-model")
    assert pool.process.wait(120) == 2 and "no-such-model" in pool.said.read_text()


def test_notes_are_read_once_and_marks_are_counted(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    notes.tell(store, "t", "hello")
    inbox = notes.Inbox(store, "t")
    assert [note["kind"] for note in inbox.read()] == ["hello"] and inbox.read() == []
    notes.beat(store, "t", "me")
    assert inbox.read() == [{"kind": "beat"}] and inbox.read() == []
    for unit in ("a", "a", "b"):
        notes.mark(store, notes.attempts("t"), unit, 0)
    assert notes.count_marks(store, notes.attempts("t")) == {"a-0": 2, "b-0": 1}


def test_what_a_dead_driver_left_at_work_is_told_to_stop_and_nobody_else_is(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first, second = (notes.begin(store, f"leases/shard-{shard}-of-2.json", "host:1") for shard in (0, 1))
    notes.end_left(store, "leases/shard-0-of-2.json")
    notes.end_left(store, "leases/driver.json")
    assert notes.stopped(store, first) and not notes.stopped(store, second)
    notes.clear(store, "leases/shard-1-of-2.json", second)
    assert [entry.url for entry in store.entries(notes.ROOT)] == [f"cluster/{first}/stop"]


def test_a_worker_that_is_told_to_stop_begins_nothing(tmp_path: Path) -> None:
    runner = Runner(tmp_path, str(tmp_path / "out"))
    runner.write([{"text": "one"}])
    plan = plans.make(runner.spec(), SETTINGS, runner.store, tmp_path)
    notes.stop(runner.store, "t")
    share.work(order(runner, plan.work), plan.refs)
    assert not runner.store.entries("parts") and notes.Inbox(runner.store, "t").read() == []
