"""One driver per OUT: a lease with a heartbeat, on the same storage as the work."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import threading
import time
from typing import Any, Self

import psutil

from transforms.errors import WavemillError
from transforms.store import Store

DRIVER = "leases/driver.json"


def shard_name(shard: tuple[int, int] | None) -> str:
    return f"leases/shard-{shard[0]}-of-{shard[1]}.json" if shard else DRIVER


class Lease:
    """Held from `with` to its end. `lost` is set when another driver took it over.

    Raises `lease_held`, naming the holder, unless the holder is dead or `take_over` is given.
    """

    def __init__(self, store: Store, name: str, ttl_s: float, take_over: bool = False) -> None:
        self.store, self.name, self.ttl_s, self.take_over = store, name, ttl_s, take_over
        self.lost = threading.Event()
        self._done = threading.Event()
        self._nonce = secrets.token_hex(8)
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def _body(self) -> bytes:
        me = psutil.Process()
        return json.dumps(
            {
                "holder": f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()}",
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started_s": me.create_time(),
                "beat_s": time.time(),
                "nonce": self._nonce,
            }
        ).encode()

    def __enter__(self) -> Self:
        if not self.store.create(self.name, self._body()):
            found = self.store.read_object(self.name)
            if found and not self.take_over and alive(found, self.ttl_s):
                raise self._held(found)
            self._replace(found)
        self._thread.start()
        return self

    def _held(self, found: dict[str, Any]) -> WavemillError:
        detail = f"{self.store.url} is being worked on by {found.get('holder')}; wait for it, stop it, or give --take-over"
        return WavemillError("lease_held", detail)

    def _replace(self, found: dict[str, Any] | None) -> None:
        """Take a lease from its holder; of several who try at once one passes the door, and only if nobody was quicker."""
        door = f"takeovers/{self.name.rpartition('/')[2]}"
        if not self.store.create(door, self._body()):
            other = self.store.read_object(door)
            if other and alive(other, self.ttl_s):
                raise self._held(other)
            self.store.remove([door])  # of a driver that died on the threshold
            if not self.store.create(door, self._body()):
                raise self._held(self.store.read_object(door) or {})
        try:
            now = self.store.read_object(self.name)
            if (now or {}).get("nonce") != (found or {}).get("nonce"):
                raise self._held(now or {})
            self.store.write(self.name, self._body())
        finally:
            self.store.remove([door])

    def _beat(self) -> None:
        while not self._done.wait(self.ttl_s / 6):
            try:
                found = self.store.read_object(self.name)
                if found and found.get("nonce") != self._nonce:
                    self.lost.set()
                    return
                self.store.write(self.name, self._body())
            except WavemillError:
                continue  # the storage is in trouble: the run itself will meet that and stop

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        found = self.store.read_object(self.name)
        if found and found.get("nonce") == self._nonce:
            self.store.remove([self.name])


def alive(found: dict[str, Any], ttl_s: float) -> bool:
    """Whether the holder still works: on this host its process is asked, on others its heartbeat is believed.

    Nobody holds a lease that cannot be read, `{}`.
    """
    if not found:
        return False
    if found["host"] == socket.gethostname():
        try:
            return bool(abs(psutil.Process(found["pid"]).create_time() - found["started_s"]) < 1.0)
        except psutil.NoSuchProcess:
            return False
    return bool(time.time() - found["beat_s"] < ttl_s)


def require_free(store: Store, ttl_s: float, mine: str = "", beside_shards: bool = False) -> None:
    """Raises `lease_held` while another driver or shard works on this OUT; shards work beside each other."""
    names = [DRIVER] if beside_shards else [entry.url for entry in store.entries("leases")]
    for name in names:
        found = None if name == mine else store.read_object(name)
        if found and alive(found, ttl_s):
            raise WavemillError("lease_held", f"{store.url} is being worked on by {found['holder']}; wait for it or stop it")
