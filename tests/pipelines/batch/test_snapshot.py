"""What planning finds out of inputs without opening them, and what it opens when told."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.batch import plan as plans

from .conftest import SETTINGS, Runner
from .test_bad_input import wav


class Web:
    """A server of one file, with an ETag that follows its content."""

    def __init__(self) -> None:
        self.data = wav(1)
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                self._head()
                self.wfile.write(web.data)

            def _head(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(web.data)))
                self.send_header("ETag", f'"{hashlib.md5(web.data).hexdigest()}"')
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/a.wav"


@pytest.fixture
def web() -> Iterator[Web]:
    served = Web()
    thread = threading.Thread(target=served.server.serve_forever)
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def test_a_sha256_column_is_held_against_the_bytes(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    digest = hashlib.sha256(wav(1)).hexdigest()
    runner.write([{"audio": "a.wav", "sha256": digest}, {"audio": "a.wav", "sha256": "0" * 64}])
    assert runner.run(operation="transcribe").failed == {"input_changed": 1}
    assert [row["status"] for row in runner.manifest()] == ["done", "failed"]


def test_an_etag_column_of_a_local_file_is_believed_for_nothing_here_can_be_compared_with_it(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    runner.write([{"audio": "a.wav", "etag": '"d41d8cd98f00b204e9800998ecf8427e"'}])
    assert runner.run(operation="transcribe").exit_code == 0
    runner.write([{"audio": "a.wav", "etag": "another"}])
    assert runner.run(operation="transcribe").made == 1


def test_a_file_that_changed_between_runs_is_another_item(anywhere: Runner) -> None:
    for seconds in (1, 2):
        anywhere.store.write("in/a.wav", wav(seconds))
        anywhere.write([{"audio": anywhere.store.path("in/a.wav")}])
        assert anywhere.run(operation="transcribe").made == 1
    assert anywhere.manifest()[0]["text"].startswith("2.000 seconds")


def test_an_input_of_the_web_is_looked_at_again_only_when_told(runner: Runner, web: Web) -> None:
    runner.write([{"audio": web.url}])
    assert runner.run(operation="transcribe").made == 1
    web.data = wav(2)
    assert runner.run(operation="transcribe").made == 0
    assert runner.run(operation="transcribe", check_inputs=True).made == 1
    assert runner.run(operation="transcribe", check_inputs=True).made == 0
    assert runner.manifest()[0]["text"].startswith("2.000 seconds")


def test_a_plan_opens_inputs_for_their_length_only_when_told(runner: Runner) -> None:
    for name, seconds in (("a.wav", 3), ("b.wav", 5)):
        (runner.folder / name).write_bytes(wav(seconds, 8000))
    (runner.folder / "c.wav").write_bytes(b"not audio")
    runner.write([{"audio": "a.wav"}, {"audio": "b.wav"}, {"audio": "c.wav", "duration_s": 7}])
    spec = runner.spec(operation="transcribe")
    guessed = plans.make(spec, SETTINGS, runner.store, runner.folder, dry=True)
    probed = plans.make(spec, SETTINGS, runner.store, runner.folder, dry=True, probe=True)
    assert guessed.weight == pytest.approx(3 + 5 + 7, abs=0.1)
    assert probed.weight == pytest.approx(3 + 5 + 7, abs=1e-6) != guessed.weight


@pytest.mark.parametrize(
    "own", [{"tts": {"engine": "kokoro", "voice": "af_bella"}}, {"tts.engine": "kokoro", "tts.voice": "af_bella"}], ids=["nested", "dotted"]
)
def test_a_rows_own_engine_of_a_stage_stands_above_the_runs(runner: Runner, own: dict[str, object]) -> None:
    """Piper, which the run names, has no such voice."""
    (runner.folder / "a.wav").write_bytes(wav(3))
    runner.write([{"audio": "a.wav", **own}, {"audio": "a.wav"}])
    spec = runner.spec(operation="convert_voice", engine="cascade", options={"tts.engine": "piper", "voice": "en_US-joe-medium"})
    made = plans.make(spec, SETTINGS, runner.store, runner.folder, dry=True)
    assert (made.refused, made.wanted) == ({}, 2)


def test_a_stages_option_is_one_whether_the_run_or_a_row_says_it(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(3))
    runner.write([{"audio": "a.wav", "tts.speed": 1.1}, {"audio": "a.wav"}, {"audio": "a.wav", "tts": {"speed": "1.10"}}])
    spec = runner.spec(operation="convert_voice", engine="cascade", options={"tts.speed": "1.1", "voice": "af_bella"})
    made = plans.make(spec, SETTINGS, runner.store, runner.folder, dry=True)
    assert (made.rows, made.wanted) == (3, 1)


@pytest.mark.slow
def test_a_million_rows_are_planned_within_a_gigabyte(runner: Runner) -> None:
    with runner.source.open("w") as file:
        for index in range(1_000_000):
            file.write(json.dumps({"id": f"x{index}", "text": f"This is sentence number {index}.", "source": "book"}) + "\n")
    code = "import resource, sys; from benchmarks.overhead import plan_stored; plan_stored(*sys.argv[1:]);"
    code += " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    command = [sys.executable, "-c", code, "synthesize", str(runner.source), runner.out]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert plans.require_stored(runner.store)["rows"] == 1_000_000
    assert int(told) < 1_000_000, "kilobytes"
