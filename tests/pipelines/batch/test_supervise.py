"""A pipeline process that cannot begin, and one whose driver is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.batch import plan as plans, run as runs, supervise
from pipelines.batch.room import Job
from pipelines.supervised import Control
from transforms.errors import WavemillError, exit_code

from .conftest import SETTINGS, Heard, Runner

DOOMED = """
import os
from transforms.engines.echo import EchoSpeech

class Doomed(EchoSpeech):
    name = "doomed"

    def load(self, place):
        with open(os.environ["DOOMED_LOG"], "a") as log:
            print(os.getpid(), file=log)
        print("the driver of the device is too old", flush=True)
        {act}
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a package with the engine `doomed`, which the child process finds as it finds any plug-in."""
    folder = tmp_path / "site"
    info = folder / "doomed-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doomed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wavemill.engines]\nsynthesize.doomed = doomed:Doomed\n")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("DOOMED_LOG", str(tmp_path / "loads"))
    return folder


def work(runner: Runner, plug_in: Path, act: str) -> list[dict[str, object]]:
    """Have the doomed engine work a plan that echo made."""
    (plug_in / "doomed.py").write_text(DOOMED.format(act=act))
    runner.write([{"text": "one"}, {"text": "two"}])
    plan = plans.make(runner.spec(), SETTINGS, runner.store, runner.folder)
    events: list[dict[str, object]] = []
    job = Job(runner.out, "synthesize", "doomed", plan.work, SETTINGS)
    supervise.work(job, plan.refs, runner.store, runner.folder, Control(), events.append)
    return events


def loads(plug_in: Path) -> list[str]:
    return (plug_in.parent / "loads").read_text().split()


def test_a_process_that_dies_three_times_before_any_work_is_given_up_with_its_last_words(runner: Runner, plug_in: Path) -> None:
    with pytest.raises(WavemillError) as caught:
        work(runner, plug_in, "os._exit(7)")
    assert caught.value.code == "engine_unloadable" and exit_code(caught.value) == 3
    assert "died 3 times before any work (exit code 7)" in caught.value.detail
    assert "the driver of the device is too old" in caught.value.detail
    assert len(loads(plug_in)) == 3 and not runner.store.entries("parts")


def test_an_engine_that_says_it_cannot_be_loaded_is_believed_at_once(runner: Runner, plug_in: Path) -> None:
    with pytest.raises(WavemillError) as caught:
        work(runner, plug_in, 'raise OSError("no such device")')
    assert (caught.value.code, caught.value.detail) == ("engine_unloadable", "OSError: no such device")
    assert len(loads(plug_in)) == 1


DRIVER = """
import sys
from pathlib import Path
from tests.pipelines.batch.conftest import Runner
runner = Runner(Path(sys.argv[1]), sys.argv[2])
runner.run(lambda event: print(*event, flush=True), options={"delay_s": 60})
"""


def test_the_pipeline_process_is_gone_soon_after_its_driver_was_killed_whatever_it_was_at(runner: Runner) -> None:
    runner.write([{"text": "a piece that takes a minute"}])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", DRIVER, str(runner.folder), runner.out]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout and any(line == "open\n" for line in driver.stdout)
        (child,) = (one for one in psutil.Process(driver.pid).children() if "pipelines.batch.child" in one.cmdline())
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    _, left = psutil.wait_procs([child], timeout=15)
    for process in left:
        process.kill()
    assert not left


def test_a_process_that_holds_too_much_is_replaced_between_units_and_nothing_is_made_twice(runner: Runner) -> None:
    runner.write([{"text": f"line {index}"} for index in range(6)])
    spec = runner.spec(unit_items=1, options={"delay_s": 0.5})
    heard = Heard()
    summary = runs.run(spec, SETTINGS.model_copy(update={"memory_limit_mb": 1, "workers": 1}), heard, Control())
    assert (summary.state, summary.made, summary.deaths) == ("done", 6, 0)
    assert sum("ready" in event for event in heard.events) > 1
    assert len(heard.units) == len(set(heard.units)) == 6
    assert len([event for event in heard.events if "open" in event]) == 6
