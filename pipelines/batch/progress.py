"""Showing how a run goes: `Live` on a terminal, `Lines` where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from transforms.command_line import Pulls, format_time

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from pipelines.batch.plan import Plan

Clock = Callable[[], float]


class Pace:
    """A fold over a run's events: how much is done, how fast, and how long the rest takes.

    Work is measured in `cost_s`, the estimated compute seconds of units. What is under way counts by the audio its pieces
    held, else by the seconds they took, never for more than what is not yet done.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.began_s = clock()
        self.total, self.items, self.failed, self.deaths = 0, 0, 0, 0
        self.audio_s, self.heard_s, self.weight_s = 0.0, 0.0, 0.0
        self.cost_s, self.done_s, self.spent_s, self.spent_then_s = 0.0, 0.0, 0.0, 0.0

    def plan(self, plan: Plan) -> None:
        self.began_s = self.clock()
        self.total, self.cost_s = plan.wanted, plan.cost_s
        self.weight_s = plan.weight if plan.spec.row.unit == "audio_s" else 0.0

    def take(self, event: dict[str, Any]) -> None:
        if "done" in event:
            self.items += event["items"]
            self.failed += sum(event["failed"].values())
            self.audio_s += event["audio_s"]
            self.done_s += event["cost_s"]
            self.spent_then_s = self.spent_s
        elif "pieces" in event:
            self.heard_s += event["audio_s"]
            self.spent_s += event["seconds"]
        elif "death" in event:
            self.deaths += 1
        elif "ready" in event and not self.spent_s:
            self.began_s = self.clock()  # what is estimated is the work, not the loading of the model

    @property
    def share(self) -> float:
        """How much of the work is done, 0 to 1."""
        if not self.cost_s:
            return 1.0
        if self.weight_s:
            under_way = self.heard_s / self.weight_s
        else:
            speed = self.done_s / self.spent_then_s if self.spent_then_s else 1.0
            under_way = (self.done_s + (self.spent_s - self.spent_then_s) * speed) / self.cost_s
        done = self.done_s / self.cost_s
        return max(done, min(under_way, 0.99)) if done < 1 else 1.0

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest takes; None while nothing can be said."""
        share = self.share
        return (self.clock() - self.began_s) * (1 - share) / share if share > 0 else None

    @property
    def real_time_factor(self) -> float | None:
        """Wall seconds for a second of audio."""
        audio_s = max(self.audio_s, self.heard_s)
        return (self.clock() - self.began_s) / audio_s if audio_s else None

    def describe(self) -> str:
        """`120/600 items, 12 min 30 s of audio, real-time factor 0.08, 2 failed, 4 min 10 s left`."""
        parts = [f"{self.items}/{self.total} items"]
        if audio_s := max(self.audio_s, self.heard_s):
            parts.append(f"{format_time(audio_s)} of audio")
        if (factor := self.real_time_factor) is not None:
            parts.append(f"real-time factor {factor:.3f}")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if (left_s := self.eta_s) is not None and self.items < self.total:
            parts.append(f"{format_time(left_s)} left")
        return ", ".join(parts)


def describe_death(event: dict[str, Any]) -> str:
    return f"the pipeline process died ({event['death']}) with {event['open']} units under way; going on"


class Lines:
    """A line when the plan is made, one about every `every_s` while events come, and one at the end."""

    def __init__(self, stream: IO[str] | None = None, every_s: float = 10.0, clock: Clock = time.monotonic) -> None:
        self.stream = stream or sys.stderr
        self.every_s, self.clock, self.pace = every_s, clock, Pace(clock)
        self.pulling = Pulls(self.stream, every_s, clock)
        self.said_s = clock()

    def _say(self, text: str) -> None:
        self.stream.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self.stream.flush()
        self.said_s = self.clock()

    def planned(self, plan: Plan) -> None:
        self.pace.plan(plan)
        for warning in plan.warnings:
            self._say(f"warning: {warning}")
        self._say(f"{plan.wanted} items to do, {plan.done} rows done already")

    def event(self, event: dict[str, Any]) -> None:
        self.pace.take(event)
        if "death" in event:
            self._say(describe_death(event))
        elif self.clock() - self.said_s >= self.every_s:
            self._say(self.pace.describe())

    def close(self) -> None:
        if self.pace.items:
            self._say(self.pace.describe())


class Live:
    """One moving line on a terminal."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        from rich.console import Console

        self.console = Console(file=stream or sys.stderr)
        self.pace = Pace()
        self.pulling = Pulls(self.console.file)
        self.bar: Bar | None = None

    def planned(self, plan: Plan) -> None:
        self.pace.plan(plan)
        for warning in plan.warnings:
            self.console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)

    def event(self, event: dict[str, Any]) -> None:
        self.pace.take(event)
        if self.bar is None:
            self._start()
        assert self.bar
        if "death" in event:
            self.bar.console.print(describe_death(event), style="yellow", markup=False, highlight=False)
        self.bar.update(self.bar.task_ids[0], completed=self.pace.share, said=self.pace.describe())

    def _start(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self.bar = Progress(
            SpinnerColumn(),
            BarColumn(24),
            TextColumn("{task.fields[said]}", markup=False),
            console=self.console,
            transient=True,
        )
        self.bar.add_task("", total=1.0, said="")
        self.bar.start()

    def close(self) -> None:
        if self.bar:
            self.bar.stop()


def for_stream(stream: IO[str] | None = None) -> Live | Lines:
    """`Live` on a terminal, else `Lines`."""
    return Live(stream) if (stream or sys.stderr).isatty() else Lines(stream)
