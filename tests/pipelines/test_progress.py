"""What a run shows of itself, on a terminal and without one."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipelines.batch.plan import Plan
from pipelines.batch.progress import Lines, Live, Pace, for_stream
from pipelines.spec import PipelineSpec
from transforms.command_line import Pulls, format_bytes, format_time


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def plan(operation: str = "synthesize", items: int = 10, cost_s: float = 100.0, weight: float = 1000.0, **more: Any) -> Plan:
    spec = PipelineSpec(operation=operation, source="in", out="out", engine="echo")
    return Plan(spec, items, 0, {}, {}, items, weight, cost_s, [], "", [], **more)


def done(items: int = 1, cost_s: float = 10.0, audio_s: float = 5.0, **failed: int) -> dict[str, Any]:
    return {"done": "u", "items": items, "failed": failed, "audio_s": audio_s, "cost_s": cost_s, "slowest": []}


def pieces(seconds: float, audio_s: float = 0.0) -> dict[str, Any]:
    return {"pieces": 1, "audio_s": audio_s, "seconds": seconds}


events = st.one_of(
    st.builds(done, st.integers(1, 3), st.floats(0, 50)),
    st.builds(pieces, st.floats(0, 50), st.floats(0, 500)),
    st.just({"ready": True}),
    st.just({"death": "signal SIGKILL", "open": 1}),
)


@given(st.lists(events), st.sampled_from(["synthesize", "transcribe"]))
def test_the_share_of_the_work_done_is_never_outside_0_and_1_nor_below_that_of_the_units_done(heard: list[Any], name: str) -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(plan(name))
    for event in heard:
        clock.now_s += 1
        pace.take(event)
        assert 0 <= pace.share <= 1
        assert pace.share >= min(pace.done_s / pace.cost_s, 1)
        assert pace.eta_s is None or pace.eta_s >= 0


def test_the_time_left_follows_the_cost_of_the_units_done() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(plan(cost_s=100))
    assert pace.eta_s is None
    clock.now_s = 20
    pace.take(pieces(18))
    pace.take(done(cost_s=10))
    assert pace.eta_s == pytest.approx(180)
    pace.take(pieces(18))  # as much again is under way
    assert pace.eta_s == pytest.approx(80)


def test_the_time_left_of_long_audio_follows_what_was_heard_of_it() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(plan("transcribe", items=1, weight=3600))
    clock.now_s = 60
    pace.take(pieces(50, audio_s=900))
    assert pace.eta_s == pytest.approx(180)
    assert pace.real_time_factor == pytest.approx(60 / 900)


def test_loading_the_model_is_not_part_of_the_pace() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(plan(cost_s=100))
    clock.now_s = 50
    pace.take({"ready": True})
    clock.now_s = 60
    pace.take(done(cost_s=50))
    assert pace.eta_s == pytest.approx(10)


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock=clock)
    lines.planned(plan(warnings=["column 'spead' is near the option speed"]))
    for second in range(1, 26):
        clock.now_s = second
        lines.event(done(cost_s=4, engine_error=int(second == 3)))
    lines.event({"death": "signal SIGKILL", "open": 2})
    lines.close()
    said = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert said[0] == "warning: column 'spead' is near the option speed"
    assert said[1] == "10 items to do, 0 rows done already"
    assert said[2].startswith("10/10 items, 50.0 s of audio, real-time factor 0.200, 1 failed")
    assert len(said) == 6
    assert "signal SIGKILL" in said[4]
    assert said[5].startswith("25/10 items")


def test_on_a_terminal_one_line_moves_and_nothing_of_it_stays() -> None:
    stream = Terminal()
    live = for_stream(stream)
    assert isinstance(live, Live)
    live.planned(plan(warnings=["near [miss]"]))
    live.event({"ready": True})
    live.event(done(engine_error=1))
    live.event({"death": "signal SIGKILL", "open": 2})
    assert live.bar
    live.bar.refresh()
    live.close()
    assert "warning: near [miss]" in stream.getvalue()
    assert "1/10 items" in stream.getvalue()
    assert "died (signal SIGKILL) with 2 units" in stream.getvalue()


def test_weights_on_their_way_are_one_moving_line_or_a_few_lines() -> None:
    clock = Clock()
    for stream, lines in ((Terminal(), 2), (io.StringIO(), 5)):
        pulls = Pulls(stream, clock=clock)
        for name in ("a.onnx", "b.onnx"):
            for million in range(101):
                clock.now_s += 0.2
                pulls(name, million * 1_000_000, 100_000_000)
        assert "pulling b.onnx: 100.0 MB of 100.0 MB" in stream.getvalue()
        assert lines <= stream.getvalue().count("\n") <= lines + 3


def test_numbers_are_written_for_people() -> None:
    assert [format_bytes(count) for count in (None, 0, 999, 92_361_271, 3_087_284_237)] == [
        "?",
        "0 bytes",
        "999 bytes",
        "92.4 MB",
        "3.1 GB",
    ]
    assert [format_time(s) for s in (0, 4.25, 60, 190.4, 7500)] == ["0.0 s", "4.2 s", "1 min 00 s", "3 min 10 s", "2 h 05 min"]
