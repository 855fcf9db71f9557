"""The pipeline's own process, started and watched by `pipelines.batch.supervise`.

It reads the job and its unit references from standard input, writes events as JSON lines to the file descriptor it is
given, stops within a piece when told `stop`, begins no further unit when told `rest`, and dies with its parent (when standard input ends):
on a cluster it removes its marks before that, for what ended the parent was none of its units.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from typing import Any

from pipelines.batch.units import Ref
from transforms.errors import WavemillError, is_full, temporary_full

LEAVE_S = 5.0
"""The most that a process without a parent takes to remove its marks."""


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a terminal's Ctrl-C reaches both
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, force=True)
    events = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    lock = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        with lock:
            events.write(json.dumps(event) + "\n")

    job_json = sys.stdin.readline()
    refs = [Ref(*ref) for ref in json.loads(sys.stdin.readline())]
    from pipelines.batch import room

    def obey() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                room.stopping.set()
            elif line.strip() == "rest":
                room.resting.set()
        room.stopping.set()
        if here:
            leaving = threading.Thread(target=here.unmark, daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)
        os._exit(4)

    here: room.Room | None = None
    threading.Thread(target=obey, name="parent", daemon=True).start()
    room.listen(emit)
    try:
        from pipelines.batch.beam import run_local

        here = room.room_for(job_json)
        emit({"ready": True})
        run_local(job_json, refs)
    except BaseException as error:
        cause = (here.error if here else None) or error
        if is_full(cause):
            cause = temporary_full()
        if isinstance(cause, WavemillError):
            emit({"error": cause.code, "detail": cause.detail})
        else:
            traceback.print_exception(cause)
            emit({"error": "engine_unloadable" if here is None else "internal", "detail": f"{type(cause).__name__}: {cause}"})
        return 3
    finally:
        if here:
            here.close()
    emit({"end": "stopped" if room.stopping.is_set() else "finished"})
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # libraries' threads must not keep a finished process
