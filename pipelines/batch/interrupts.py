"""What Ctrl-C and SIGTERM do to a driver."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pipelines.batch.plan import Plan
    from pipelines.batch.run import Progress
    from pipelines.supervised import Control


class Interrupted(KeyboardInterrupt):
    """A signal ended the command before any work was under way. `exit_code` is 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Interrupts:
    """A `Progress` that passes everything on, and inside `with` decides what a signal does.

    While planning and pulling it raises `Interrupted`. Once the work has begun the first signal stops it within a piece,
    the second at once, and a third raises.
    """

    def __init__(self, control: Control, progress: Progress) -> None:
        self.control, self.progress = control, progress
        self.working = False
        self.raised = 0

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.raised and error and not isinstance(error, Interrupted):
            # a library that was interrupted may tell of it in its own way
            raise Interrupted(self.raised) from error

    def _take(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self.working or self.control.killed:
            self.raised = number
            raise Interrupted(number)
        if self.control.reason is None:
            self.control.stop(name)
            _write(f"{name}: stopping within a piece; the same command again goes on from there. Once more stops at once.")
        else:
            self.control.kill()
            _write(f"{name}: stopping at once.")

    def planned(self, plan: Plan) -> None:
        self.progress.planned(plan)

    def pulling(self, model: str, done: int, total: int | None) -> None:
        self.progress.pulling(model, done, total)

    def event(self, event: dict[str, Any]) -> None:
        self.working = True
        self.progress.event(event)


def _write(text: str) -> None:
    # not through sys.stderr: the signal may have come in the midst of a write to it
    os.write(2, f"\nwavemill: {text}\n".encode())
