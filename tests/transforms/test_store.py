"""The store of a run: whole writes, exclusive creation, and errors that say whose fault they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import fsspec
import pytest

from transforms import storage
from transforms.errors import WavemillError
from transforms.store import FLAT, Store


def test_what_is_written_is_read_listed_and_removed(out: str) -> None:
    store = Store(out)
    store.write_many({"blobs/a/1.bin": b"one", "blobs/b/2.bin": b"two"})
    store.write("blobs/a/1.bin", b"uno")
    assert store.read("blobs/a/1.bin") == b"uno"
    assert [(entry.url, entry.bytes) for entry in store.entries("blobs")] == [("blobs/a/1.bin", 3), ("blobs/b/2.bin", 3)]
    store.remove(["blobs/a/1.bin", "blobs/never.bin"])
    assert store.read("blobs/a/1.bin") is None and not store.exists("blobs/a/1.bin") and store.exists("blobs/b/2.bin")
    assert store.entries("nothing") == []


@pytest.mark.parametrize("flat", [FLAT, 0])
def test_sizes_tell_of_every_file_below_a_folder_and_of_no_temporary_one(out: str, flat: int) -> None:
    store = Store(out)
    files = {f"blobs/{n % 20:02x}/{n}.bin": b"x" * n for n in range(60)} | {
        "blobs/top.bin": b"top",
        "blobs/a/b/c/deep.bin": b"deep",
        "blobs/0/1.tmp": b"",
    }
    store.write_many(files | {"other/1.bin": b"one"})
    assert dict(store.sizes("blobs", flat)) == {name: len(data) for name, data in files.items() if not name.endswith(".tmp")}
    assert dict(store.sizes("nothing", flat)) == {}


def test_only_the_first_of_two_creates_succeeds(out: str) -> None:
    store = Store(out)
    assert store.create("lease.json", b"first")
    assert not store.create("lease.json", b"second")
    assert store.read("lease.json") == b"first"


def test_files_travel_up_and_down_whole(out: str, tmp_path: Path) -> None:
    store, source = Store(out), tmp_path / "big.bin"
    source.write_bytes(os.urandom(7 << 20))
    store.upload(source, "plan/big.bin")
    (fetched,) = store.fetch(["plan/big.bin"], tmp_path / "down")
    assert fetched.read_bytes() == source.read_bytes()


def test_an_unknown_protocol_is_bad_usage() -> None:
    with pytest.raises(WavemillError) as caught:
        Store("gopher://x/y")
    assert caught.value.code == "bad_usage"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), "storage_full"),
        (PermissionError(errno.EACCES, "no"), "storage_forbidden"),
        (OSError(errno.EROFS, "read-only"), "storage_forbidden"),
        (ConnectionResetError("gone"), "storage_unavailable"),
    ],
)
def test_what_stops_a_write_is_the_systems_fault_and_says_which(tmp_path: Path, error: OSError, code: str) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(WavemillError) as caught:
        Store(str(tmp_path), patience_s=0)._writing("x", fail)
    assert (caught.value.code, caught.value.kind) == (code, "system")


def test_object_storage_without_credentials_is_forbidden_at_once_and_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(storage, "_filesystem", lambda name: fsspec.filesystem("s3", skip_instance_cache=True))
    monkeypatch.setattr(Store, "_patient", lambda store: pytest.fail("waited"))
    with pytest.raises(WavemillError) as caught:
        Store("s3://nobody/out").write("x", b"x")
    assert (caught.value.code, caught.value.kind) == ("storage_forbidden", "system")
    assert "s3://nobody/out/x" in caught.value.detail and "set AWS_ACCESS_KEY_ID" in caught.value.detail


def test_a_passing_error_is_waited_out(tmp_path: Path) -> None:
    tries = []

    def fail_twice() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionResetError("busy")
        return "written"

    assert Store(str(tmp_path), patience_s=10)._writing("x", fail_twice) == "written"


def test_sweeping_removes_only_old_temporary_files(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("blobs/a.bin", b"a")
    (tmp_path / "blobs/b.bin.1-2.tmp").write_bytes(b"half")
    store.sweep(older_than_s=3600)
    assert (tmp_path / "blobs/b.bin.1-2.tmp").exists()
    store.sweep(older_than_s=-1)
    assert sorted(p.name for p in (tmp_path / "blobs").iterdir()) == ["a.bin"]
