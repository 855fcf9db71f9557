"""The Flink cluster of `deploy/cluster`, what a proof does to it, and runs into its S3 as a user's command does them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from types import ModuleType
from typing import Any

import fsspec
import httpx
import pyarrow.parquet as pq

from benchmarks.measure import ROOT
from pipelines.dev import s3

_numbers = count()


def load() -> ModuleType:
    """deploy/cluster/cluster.py, which is a script and in no package."""
    spec = spec_from_file_location("flink_cluster", ROOT / "deploy" / "cluster" / "cluster.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Hosts:
    """The cluster, and what a test does to it."""

    def __init__(self, script: ModuleType, cluster: Any) -> None:
        self.script, self.cluster = script, cluster
        self.endpoint: str = cluster.endpoint
        given = s3.environment(cluster.ports, cluster.ip("0"))
        self.files = fsspec.filesystem(
            "s3",
            key=given["AWS_ACCESS_KEY_ID"],
            secret=given["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=given["AWS_ENDPOINT_URL"],
            use_listings_cache=False,
        )

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        return kept | self.cluster.environment | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": path}

    def kill(self, name: str) -> None:
        self.script.kill(self.cluster, name)

    def start(self, name: str, **variables: str) -> None:
        self.script.start(self.cluster, name, **variables)

    def restart(self, *names: str, **variables: str) -> None:
        """Kill each and start it again at once, with `variables` in its environment."""
        for name in names:
            self.kill(name)
            self.start(name, **variables)

    def health(self, host: int) -> dict[str, Any]:
        found: dict[str, Any] = dict(self.script._get(self.cluster.ip(str(host)), self.script.HEALTH_PORT, "/health"))
        return found

    def workers(self) -> list[dict[str, Any]]:
        return [worker for host in (1, 2) for worker in self.health(host).get("workers", [])]

    def jobs(self) -> dict[str, str]:
        """Flink's jobs and their states."""
        found = httpx.get(f"http://{self.cluster.ip('0')}:{self.script.REST_PORT}/jobs", trust_env=False).json()
        return {job["id"]: job["status"] for job in found["jobs"]}

    def cancel_all(self) -> None:
        for job, state in self.jobs().items():
            if state in ("RUNNING", "RESTARTING", "CREATED"):
                httpx.patch(f"http://{self.cluster.ip('0')}:{self.script.REST_PORT}/jobs/{job}", trust_env=False)

    def whole(self) -> bool:
        """Whether all slots are there and free, and every pool is ready."""
        slots = self.script.slots(self.cluster), self.script.slots(self.cluster, free=True)
        return slots == (4, 4) and all(self.health(host).get("ready") for host in (1, 2))


class Place:
    """One OUT on the cluster's S3, and commands that work on it."""

    def __init__(self, hosts: Hosts, name: str) -> None:
        self.hosts, self.base = hosts, f"s3://{s3.BUCKET}/{next(_numbers)}-{name}"
        self.out, self.source = f"{self.base}/out", f"{self.base}/manifest.jsonl"

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.hosts.files.pipe_file(self.source, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def command(
        self,
        *flags: str,
        out: str = "",
        cluster: bool = True,
        operation: str = "synthesize",
        engine: str = "echo",
        as_command: Sequence[str] = ("-m", "wavemill"),
    ) -> list[str]:
        place = ["--runner", "flink", "--endpoint", self.hosts.endpoint] if cluster else ["--workers", "2"]
        options = ["--format", "wav", "--no-normalize"] if engine == "echo" and operation == "synthesize" else []
        given = ["--engine", engine, "--json", *options, *place, *flags]
        return [sys.executable, "-P", *as_command, "run", operation, self.source, "-o", out or self.out, *given]

    def run(self, *flags: str, timeout_s: float = 900, patience_s: float = 120, **fields: Any) -> dict[str, Any]:
        """A whole run: its summary, or its error."""
        environment = self.hosts.environment() | {"WAVEMILL_CLUSTER_PATIENCE_S": str(patience_s)}
        done = subprocess.run(self.command(*flags, **fields), env=environment, capture_output=True, text=True, timeout=timeout_s)
        assert done.stdout, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]), said=done.stderr)

    def start(self, *flags: str, **fields: Any) -> subprocess.Popen[str]:
        command = self.command(*flags, **fields)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=self.hosts.environment(), **pipes)

    def files(self, folder: str) -> dict[str, str]:
        """The files of a folder of OUT, and when each was written; the store's empty folders are none."""
        if not self.hosts.files.exists(f"{self.out}/{folder}"):
            return {}
        found = self.hosts.files.find(f"{self.out}/{folder}", detail=True).values()
        return {info["name"].rpartition("/")[2]: str(info["LastModified"]) for info in found if info["size"]}

    def parts(self) -> dict[str, str]:
        """The committed parts, and when each was written."""
        return self.files("parts")

    def _rows(self) -> list[dict[str, Any]]:
        """What stands in the committed parts."""
        found = [
            pq.read_table(file) for name in self.parts() for file in [io.BytesIO(self.hosts.files.cat_file(f"{self.out}/parts/{name}"))]
        ]
        return [row for table in found for row in table.to_pylist()]

    def keys(self) -> list[str]:
        """The key of each committed row; two of one key were worked twice."""
        return [row["key"] for row in self._rows()]

    def committed(self) -> dict[str, str]:
        """The committed parts and the blobs that they name, and when each was written: a blob that is made again is written again."""
        parts = self.parts()
        named = {output["uri"].rpartition("/")[2] for row in self._rows() for output in row["outputs"] or []}
        return parts | {name: written for name, written in self.files("blobs").items() if name in named}

    def manifest(self, out: str = "") -> list[dict[str, Any]]:
        with self.hosts.files.open(f"{out or self.out}/manifest.parquet") as file:
            rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        return rows

    def results(self, out: str = "") -> list[Any]:
        """What a manifest says, but for where it stands, and the digest of each blob as it is stored."""
        found = []
        for row in self.manifest(out):
            outputs = row.pop("outputs") or []
            del row["uri"]
            stored = [hashlib.sha256(self.hosts.files.cat_file(one["uri"])).hexdigest() for one in outputs]
            found.append((row, [{**one, "uri": None} for one in outputs], stored))
        return found
