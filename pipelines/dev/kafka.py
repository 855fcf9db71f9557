"""Apache Kafka itself, broker and controller in one process (KRaft), on this machine's loopback address.

Its jars are fetched by Maven once, checked against `kafka.sha256` and kept; Java 17 runs them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from pipelines.dev import process
from transforms.errors import WavemillError
from transforms.settings import Settings

VERSION = "4.1.0"
CLUSTER = "d2F2ZW1pbGwtZGV2LS0tLQ"
HERE = Path(__file__).parent
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


def choose_ports() -> dict[str, int]:
    return process.choose_ports(("broker", "controller"))


def is_here() -> bool:
    """Whether it can run: Java 17 or later is there, and its jars, or Maven to fetch them."""
    java = shutil.which("java")
    if java is None or not (_folder(Settings().programs_dir).exists() or shutil.which("mvn")):
        return False
    told = subprocess.run([java, "--version"], capture_output=True, text=True, check=False).stdout  # Java 8 does not know the flag
    found = re.search(r"\d+", told)
    return found is not None and int(found[0]) >= 17


def command(folder: Path, ports: Mapping[str, int], more: str = "") -> list[str]:
    """The command line, its log folder made ready; lines of `more` overrule its properties.

    Raises `bad_usage` where Java or Maven are missing, or a jar is another.
    """
    java, jars = _program("java"), fetch(Settings().programs_dir)
    data, properties = folder / "data", folder / "server.properties"
    properties.write_text(PROPERTIES.format(data=data, **ports) + more)
    if not (data / "meta.properties").exists():
        format = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(properties)]
        subprocess.run([java, "-cp", f"{jars}/*", *format], check=True, capture_output=True)
    return [java, "-Xmx512m", "-cp", f"{jars}/*", "kafka.Kafka", str(properties)]


def fetch(folder: Path) -> Path:
    """The folder of the jars, fetched at the first call. Raises `bad_usage`."""
    target = _folder(folder)
    lines = [line.split() for line in (HERE / "kafka.sha256").read_text().splitlines()]
    pinned = {name: digest for digest, name in lines}
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as name:
                _copy_jars(Path(name) / "jars")
                found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (Path(name) / "jars").iterdir()}
                if found != pinned:
                    wrong = sorted(name for name in found.keys() | pinned.keys() if found.get(name) != pinned.get(name))
                    raise WavemillError("bad_usage", f"the jars of Kafka {VERSION} are not the pinned ones: {', '.join(wrong[:5])}")
                (Path(name) / "jars").rename(target)
    return target


def _folder(programs: Path) -> Path:
    return programs / f"kafka-{VERSION}"


def _copy_jars(target: Path) -> None:
    maven = _program("mvn")
    done = subprocess.run(
        [maven, "-q", "-f", str(HERE / "kafka.pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={target}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WavemillError("bad_usage", f"Maven cannot fetch Kafka {VERSION}:\n{done.stdout[-2000:]}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        package = {"java": "a Java runtime of version 17 or later", "mvn": "Maven"}[name]
        raise WavemillError("bad_usage", f"the program `{name}` is not here; Kafka needs {package}")
    return found


def environment(ports: Mapping[str, int]) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{ports['broker']}"}


def answers(ports: Mapping[str, int]) -> bool:
    """Whether the broker tells of its cluster."""
    try:
        from kafka.admin import KafkaAdminClient
        from kafka.errors import KafkaError
    except ImportError:
        raise WavemillError("bad_usage", "Kafka's client is not installed; pip install 'wavemill[kafka]' brings it") from None
    if process.are_free([ports["broker"]]):
        return False
    try:
        KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{ports['broker']}", bootstrap_timeout_ms=2_000).close()
    except (KafkaError, OSError):
        return False
    return True
