"""A Flink cluster of several hosts on one machine: network namespaces joined by a bridge.

The head host runs Flink's JobManager, Beam's job server, S3 and, when asked for, Kafka; every other host a TaskManager with a
worker pool beside it. Needs root, Java 17 and, once, Maven. Nothing listens in the machine's own namespace.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import psutil

from pipelines.dev import jars, kafka, process, s3
from transforms.errors import WavemillError
from transforms.settings import Settings

HERE = Path(__file__).parent
FLINK = "beam-2.70.0-flink-1.19"
FIRST = ("beam-runners-core-java", "beam-runners-java-fn-execution", "beam-sdks-java-core")
JOB_PORT, REST_PORT, POOL_PORT, HEALTH_PORT = 8099, 8081, 50_000, 50_001
PATIENCE_S = 90.0
LAST = "last.json"
"""What is left of a cluster that is down."""
PACKAGES = ("util", "lang", "util.concurrent", "net", "nio", "text", "time", "lang.reflect")
OPENS = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in PACKAGES]
OPENS.append("--add-exports=java.base/sun.net.util=ALL-UNNAMED")
HEAD, MANAGER, TASKS = "0", "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "taskexecutor.TaskManagerRunner"


@dataclass(slots=True)
class Cluster:
    """What is written down of a cluster in its folder. `net` is the third number of its addresses and part of its names."""

    folder: str
    net: int
    hosts: int
    ports: dict[str, int]
    with_kafka: bool = False
    pool_flags: list[str] = field(default_factory=list)

    def ip(self, host: str) -> str:
        return f"10.77.{self.net}.{10 + int(host)}"

    def space(self, host: str) -> str:
        return f"wm{self.net}-{host}"

    def within(self, host: str) -> list[str]:
        """What is put before a command to have it run on a host."""
        return [str(shutil.which("ip")), "netns", "exec", self.space(host)]

    @property
    def endpoint(self) -> str:
        return f"{self.ip(HEAD)}:{JOB_PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """What points a client at the cluster's S3 and Kafka."""
        found = s3.environment(self.ports, self.ip(HEAD))
        if self.with_kafka:
            found["KAFKA_BOOTSTRAP_SERVERS"] = f"{self.ip(HEAD)}:{self.ports['broker']}"
        return found

    def names(self) -> list[str]:
        """Every process, in the order in which they start."""
        tasks = [f"{kind}{host}" for host in range(1, self.hosts + 1) for kind in ("pool", "tasks")]
        return ["s3", *(["kafka"] if self.with_kafka else []), "jobs", *tasks, "server"]

    def save(self) -> None:
        Path(self.folder, "cluster.json").write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def load(folder: Path) -> Cluster:
        try:
            return Cluster(**json.loads((folder / "cluster.json").read_text()))
        except FileNotFoundError:
            raise WavemillError("bad_usage", f"there is no cluster in {folder}; `up` makes one") from None


def up(folder: Path, hosts: int = 2, with_kafka: bool = False, pool_flags: tuple[str, ...] = ()) -> Cluster:
    """Make the hosts, start everything, and wait until the cluster has its slots. Raises `bad_usage` and `storage_unavailable`."""
    if os.geteuid() or shutil.which("ip") is None:
        raise WavemillError("bad_usage", "hosts are network namespaces: this needs root and the program `ip` (Debian: iproute2)")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "cluster.json").exists():
        raise WavemillError("bad_usage", f"there is a cluster in {folder} already; `down` stops it")
    spaces = {line.split()[0] for line in _ip("netns", "list").splitlines()}
    used = {n for n in range(1, 255) if f"wm{n}-{HEAD}" in spaces or Path(f"/sys/class/net/wmb{n}").exists()}
    net = random.choice([n for n in range(1, 255) if n not in used])
    ports = s3.choose_ports() | kafka.choose_ports()
    if (folder / LAST).exists():  # what is stored knows its servers by their addresses
        last = json.loads((folder / LAST).read_text())
        net, ports = last["net"], last["ports"]
        if net in used:
            raise WavemillError(
                "bad_usage", f"the addresses 10.77.{net}.x that {folder} had are another cluster's now; give another --folder"
            )
    cluster = Cluster(str(folder.absolute()), net, hosts, ports, with_kafka, list(pool_flags))
    cluster.save()
    try:
        _make(cluster)
    except BaseException:
        down(folder)
        raise
    return cluster


def _make(cluster: Cluster) -> None:
    net, hosts, folder = cluster.net, cluster.hosts, Path(cluster.folder)
    _ip("link", "add", f"wmb{net}", "type", "bridge")
    _ip("addr", "add", f"10.77.{net}.1/24", "dev", f"wmb{net}")
    _ip("link", "set", f"wmb{net}", "up")
    for host in map(str, range(hosts + 1)):
        space, link = cluster.space(host), f"wmv{net}-{host}"
        _ip("netns", "add", space)
        _ip("link", "add", link, "type", "veth", "peer", "name", "e0", "netns", space)
        _ip("link", "set", link, "master", f"wmb{net}", "up")
        _ip("-n", space, "addr", "add", f"{cluster.ip(host)}/24", "dev", "e0")
        _ip("-n", space, "link", "set", "e0", "up")
        _ip("-n", space, "link", "set", "lo", "up")
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    text = (HERE / "flink-conf.yaml").read_text().replace("{head}", cluster.ip(HEAD)).replace("{hosts}", str(hosts))
    (conf / "flink-conf.yaml").write_text(text)
    for name in cluster.names():
        start(cluster, name)
    _wait(lambda: s3.answers(cluster.ports, cluster.ip(HEAD)), "S3 does not answer", cluster, "s3")
    if cluster.with_kafka:
        _wait(lambda: _listens(cluster.ip(HEAD), cluster.ports["broker"]), "Kafka does not answer", cluster, "kafka")
    for host in range(1, hosts + 1):
        _wait(lambda host=host: healthy(cluster, host), "the worker pool is not ready", cluster, f"pool{host}")
    _wait(lambda: slots(cluster) >= 2 * hosts, "the TaskManagers do not register", cluster, "tasks1")
    _wait(lambda: _listens(cluster.ip(HEAD), JOB_PORT), "the job server does not answer", cluster, "server")


def start(cluster: Cluster, name: str, **variables: str) -> process.Running:
    """Start one process of the cluster, or start it again after it ended; `variables` are added to its environment."""
    numbered = re.fullmatch(r"(pool|tasks)(\d+)", name)
    kind, host = numbered.groups() if numbered else (name, HEAD)
    folder = Path(cluster.folder, name)
    folder.mkdir(exist_ok=True)
    inherited = {key: os.environ[key] for key in ("HOME", "PATH", "TMPDIR", "PYTHONPATH", "WAVEMILL_MODELS_DIR") if key in os.environ}
    environment = inherited | cluster.environment | {"PYTHONSAFEPATH": "1", "AWS_EC2_METADATA_DISABLED": "true"} | variables
    return process.spawn(_command(cluster, kind, host, folder), environment, folder, {}, cluster.within(host))


def _command(cluster: Cluster, kind: str, host: str, folder: Path) -> list[str]:
    ip = cluster.ip(host)
    if kind == "s3":
        return s3.command(folder, {name: cluster.ports[name] for name in s3.SERVERS}, ip)
    if kind == "kafka":
        return kafka.command(folder, cluster.ports, ip=ip)
    if kind == "pool":
        flags = [f"--port={POOL_PORT}", f"--health-port={HEALTH_PORT}", f"--log-dir={folder}", f"--name=host{host}", *cluster.pool_flags]
        return [sys.executable, "-P", "-m", "wavemill", "worker-pool", *flags]
    java = [jars.program("java", "Flink"), *OPENS]
    libraries = ["-cp", _class_path(fetch(Settings().programs_dir)), "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    conf = ["--configDir", f"{cluster.folder}/conf"]
    if kind == "jobs":
        return [*java, "-Xmx400m", *libraries, MANAGER, *conf]
    if kind == "tasks":
        ask = [*java, *libraries, "org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS", *conf]
        said = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
        memory, dynamic = (line.partition("RESULT:")[2].split() for line in said.splitlines() if "RESULT:" in line)
        where = [
            "-D",
            f"taskmanager.host={ip}",
            "-D",
            "taskmanager.bind-host=0.0.0.0",
            "-D",
            f"taskmanager.resource-id=host{host}-{time.time():.0f}",
        ]
        return [*java, *memory, *libraries, f"org.apache.flink.runtime.{TASKS}", *conf, *where, *dynamic]
    listen = [
        f"--job-host={ip}",
        f"--job-port={JOB_PORT}",
        "--artifact-port=8098",
        "--expansion-port=8097",
        f"--artifacts-dir={folder}/artifacts",
    ]
    flink = [f"--flink-master={ip}:{REST_PORT}", f"--flink-conf-dir={cluster.folder}/conf"]
    return [*java, "-Xmx1g", *libraries, str(HERE / "JobServer.java"), *listen, *flink]


def _class_path(folder: Path) -> str:
    """All jars. Others hold older copies of these three's classes, by which streaming jobs end with NoSuchMethodError."""
    first = [str(path) for name in FIRST for path in folder.glob(f"{name}-2.*.jar")]
    return ":".join([*first, f"{folder}/*"])


def fetch(programs: Path) -> Path:
    """The folder of Flink's and Beam's jars, fetched at the first call. Raises `bad_usage`."""
    return jars.fetch("Flink with Beam's job server", HERE / "pom.xml", HERE / "jars.sha256", programs / FLINK)


def kill(cluster: Cluster, name: str) -> None:
    """kill -9, of this process alone."""
    running = process.load(Path(cluster.folder, name))
    found = process.find(running) if running else None
    if found:
        found.kill()
        psutil.wait_procs([found], timeout=10)


def cut(cluster: Cluster, host: int, connected: bool = False) -> None:
    """Take a host off the network, or put it back."""
    _ip("link", "set", f"wmv{cluster.net}-{host}", "up" if connected else "down")


def down(folder: Path) -> None:
    """Stop everything, and remove the hosts. What S3 holds stays in the folder."""
    cluster = Cluster.load(folder)
    spaces = [cluster.space(str(host)) for host in range(cluster.hosts + 1)]
    for name in reversed(cluster.names()):
        running = process.load(Path(cluster.folder, name))
        if running:
            process.stop(running, patience_s=3)
    for space in spaces:
        if not Path("/run/netns", space).exists():
            continue
        # what is left in it, workers above all, is the cluster's own
        left = [psutil.Process(int(pid)) for pid in _ip("netns", "pids", space).split() if psutil.pid_exists(int(pid))]
        for one in left:
            one.kill()
        psutil.wait_procs(left, timeout=10)
        _ip("netns", "del", space)
    if Path(f"/sys/class/net/wmb{cluster.net}").exists():
        _ip("link", "del", f"wmb{cluster.net}")
    for port in cluster.ports.values():
        for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            socket.unlink(missing_ok=True)
    (folder / "cluster.json").rename(folder / LAST)


def slots(cluster: Cluster, free: bool = False) -> int:
    """Slots of the registered TaskManagers; 0 while Flink does not answer."""
    found = _get(cluster.ip(HEAD), REST_PORT, "/overview")
    return int(found.get("slots-available" if free else "slots-total", 0))


def healthy(cluster: Cluster, host: int) -> bool:
    return bool(_get(cluster.ip(str(host)), HEALTH_PORT, "/health").get("ready"))


def _get(ip: str, port: int, path: str) -> Mapping[str, object]:
    import httpx

    try:
        found = httpx.get(f"http://{ip}:{port}{path}", timeout=3, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _listens(ip: str, port: int) -> bool:
    import socket

    try:
        with socket.create_connection((ip, port), timeout=2):
            return True
    except OSError:
        return False


def _wait(ready: Callable[[], bool], otherwise: str, cluster: Cluster, name: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        running = process.load(Path(cluster.folder, name))
        if time.monotonic() > deadline or running is None or process.find(running) is None:
            log = Path(cluster.folder, name, "log")
            last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise WavemillError("storage_unavailable", f"{otherwise}; the end of {log}:\n{last}")
        time.sleep(0.2)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WavemillError("bad_usage", f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@click.group(help=__doc__)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where logs and data are kept; `cluster` in the folder of `wavemill dev` when unset."
)
@click.pass_context
def main(ctx: click.Context, folder: Path | None) -> None:
    ctx.obj = folder or Settings().dev_dir / "cluster"


@main.command("up")
@click.option("--hosts", type=int, default=2, show_default=True)
@click.option("--kafka", "with_kafka", is_flag=True, help="Also Apache Kafka, on the head host.")
@click.option("--pool", "pool_flags", multiple=True, metavar="FLAG", help="A flag of `wavemill worker-pool`, such as --models=NAME.")
@click.pass_obj
def _up(folder: Path, hosts: int, with_kafka: bool, pool_flags: tuple[str, ...]) -> None:
    """Make the cluster, and say how to use it."""
    cluster = up(folder, hosts, with_kafka, pool_flags)
    for name, value in cluster.environment.items():
        click.echo(f"export {name}={value}")
    click.echo(f"# then: wavemill run ... -o s3://{s3.BUCKET}/first --runner flink --endpoint {cluster.endpoint}")


@main.command("down")
@click.pass_obj
def _down(folder: Path) -> None:
    """Stop it, and remove its hosts."""
    down(folder)


@main.command("start")
@click.argument("name")
@click.pass_obj
def _start(folder: Path, name: str) -> None:
    """Start a process again: s3, kafka, jobs, server, pool1, tasks1, pool2, ..."""
    start(Cluster.load(folder), name)


@main.command("kill")
@click.argument("name")
@click.pass_obj
def _kill(folder: Path, name: str) -> None:
    """kill -9 of one process."""
    kill(Cluster.load(folder), name)


@main.command("cut")
@click.argument("host", type=int)
@click.option("--back", is_flag=True, help="Put it back.")
@click.pass_obj
def _cut(folder: Path, host: int, back: bool) -> None:
    """Take a host off the network."""
    cut(Cluster.load(folder), host, connected=back)


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except WavemillError as error:
        sys.exit(f"{error.code}: {error.detail}")
