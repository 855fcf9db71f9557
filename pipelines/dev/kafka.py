"""Apache Kafka itself, broker and controller in one process (KRaft), on this machine's loopback address.

Its jars are fetched by Maven once, checked against `kafka.sha256` and kept; Java 17 runs them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.dev import jars, process
from transforms.errors import WavemillError
from transforms.settings import Settings

VERSION = "4.1.0"
CLUSTER = "d2F2ZW1pbGwtZGV2LS0tLQ"
HERE = Path(__file__).parent
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{ip}:{controller}
listeners=PLAINTEXT://{ip}:{broker},CONTROLLER://{ip}:{controller}
advertised.listeners=PLAINTEXT://{ip}:{broker}
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


def command(folder: Path, ports: Mapping[str, int], more: str = "", ip: str = "127.0.0.1") -> list[str]:
    """The command line, its log folder made ready; lines of `more` overrule its properties.

    Raises `bad_usage` where Java or Maven are missing, or a jar is another.
    """
    java, libraries = jars.program("java", "Kafka"), fetch(Settings().programs_dir)
    data, properties = folder / "data", folder / "server.properties"
    properties.write_text(PROPERTIES.format(data=data, ip=ip, **ports) + more)
    if not (data / "meta.properties").exists():
        format = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(properties)]
        subprocess.run([java, "-cp", f"{libraries}/*", *format], check=True, capture_output=True)
    return [java, "-Xmx512m", "-cp", f"{libraries}/*", "kafka.Kafka", str(properties)]


def fetch(folder: Path) -> Path:
    """The folder of the jars, fetched at the first call. Raises `bad_usage`."""
    return jars.fetch(f"Kafka {VERSION}", HERE / "kafka.pom.xml", HERE / "kafka.sha256", _folder(folder))


def _folder(programs: Path) -> Path:
    return programs / f"kafka-{VERSION}"


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
