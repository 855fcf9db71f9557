"""A Beam worker process, started by `pipelines.cluster.pool`: arguments are the control endpoint, its id, and a file descriptor.

A byte on the descriptor says that it is connected. It ends when its task manager does, whatever it is at: another one has its
work by then.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback

from apache_beam.runners.worker.sdk_worker import SdkHarness

from pipelines.cluster import share  # noqa: F401  what it is sent refers to it; loaded before anybody waits for it

LOOK_S = 1.0


def main() -> None:
    control, worker_id, descriptor = sys.argv[1], sys.argv[2], int(sys.argv[3])
    harness = SdkHarness(control, worker_id=worker_id)
    os.write(descriptor, b"1")
    os.close(descriptor)
    threading.Thread(target=_leave_with, args=(control,), name="task manager", daemon=True).start()
    harness.run()


def _leave_with(control: str) -> None:
    """End this process when nobody listens at the control endpoint any more."""
    host, _, port = control.rpartition(":")
    while True:
        time.sleep(LOOK_S)
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=30).close()
        except ConnectionRefusedError:
            os._exit(5)
        except OSError:
            continue  # a network that is cut may come back


if __name__ == "__main__":
    code = 0
    try:
        main()
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what it is still at is another's by now
