"""What the design needs of an S3 store, shown on the real server by the very client we use."""

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import os

import botocore.exceptions
import fsspec
import pytest

FS = fsspec.filesystem("s3", use_listings_cache=False)


def test_the_client_finds_the_server_by_the_standard_variables(s3: str) -> None:
    FS.pipe_file(f"{s3}/a", b"one")
    assert FS.cat_file(f"{s3}/a") == b"one"


def test_a_second_create_is_refused_as_a_precondition(s3: str) -> None:
    # s3fs has no FileExistsError for it: whoever creates must look at the cause
    FS.pipe_file(f"{s3}/a", b"one", mode="create")
    with pytest.raises(OSError, match="pre-condition") as caught:
        FS.pipe_file(f"{s3}/a", b"two", mode="create")
    assert caught.value.errno == errno.EINVAL
    assert isinstance(caught.value.__cause__, botocore.exceptions.ClientError)
    assert caught.value.__cause__.response["Error"]["Code"] == "PreconditionFailed"
    assert FS.cat_file(f"{s3}/a") == b"one"


def test_of_many_creates_at_once_exactly_one_wins(s3: str) -> None:
    def create(value: int) -> int | None:
        try:
            FS.pipe_file(f"{s3}/lease", str(value).encode(), mode="create")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return None
        return value

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        winners = [value for value in pool.map(create, range(24)) if value is not None]
    assert [str(value).encode() for value in winners] == [FS.cat_file(f"{s3}/lease")]


def test_a_listing_and_a_look_give_the_same_etag(s3: str) -> None:
    FS.pipe_file(f"{s3}/a", b"one")
    (listed,) = FS.ls(s3, detail=True)
    (found,) = FS.find(s3, detail=True).values()
    assert listed["ETag"] == found["ETag"] == FS.info(f"{s3}/a")["ETag"] == f'"{hashlib.md5(b"one").hexdigest()}"'


def test_a_multipart_object_appears_whole_with_one_etag(s3: str) -> None:
    data = os.urandom(12 << 20)
    with FS.open(f"{s3}/big", "wb", block_size=5 << 20) as file:
        file.write(data[: 6 << 20])
        file.flush()
        assert not FS.exists(f"{s3}/big")
        file.write(data[6 << 20 :])
    assert FS.cat_file(f"{s3}/big") == data
    (listed,) = FS.ls(s3, detail=True)
    assert listed["ETag"] == FS.info(f"{s3}/big")["ETag"]


def test_many_objects_go_in_one_call_and_out_in_one(s3: str) -> None:
    objects = {f"{s3}/{index:03}": os.urandom(1_000) for index in range(100)}
    FS.pipe(objects, batch_size=32)
    found = FS.cat(list(objects), batch_size=32)
    assert list(found.values()) == list(objects.values())
    FS.rm(list(objects))
    # a folder of this server outlives its last object: who lists must ask for the type
    assert [entry for entry in FS.find(s3, detail=True).values() if entry["type"] == "file"] == []


@pytest.mark.parametrize("name", ["a b", "ü+%&=#.wav", "a,b", "semi;colon", "quote'\".txt"])
def test_odd_names_come_back_as_they_went(s3: str, name: str) -> None:
    FS.pipe_file(f"{s3}/{name}", b"x")
    assert FS.cat_file(f"{s3}/{name}") == b"x"
    assert FS.find(s3) == [f"{s3.removeprefix('s3://')}/{name}"]


def test_a_wrong_bucket_and_a_wrong_secret_are_errors(s3: str) -> None:
    with pytest.raises(FileNotFoundError):
        FS.pipe_file("s3://no-such-bucket/a", b"x")
    stranger = fsspec.filesystem("s3", key="wavemill", secret="wrong", skip_instance_cache=True)
    with pytest.raises(PermissionError):
        stranger.cat_file(f"{s3}/a")
