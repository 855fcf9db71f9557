"""Resident memory of one worker over an hour's batches, at one every two seconds: 1,800 of 8 messages, and live 3,600 s of a session.

The hour goes by faster: the engine only looks at the audio (echo). Every clip is another, comes inline, and is decoded.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable

import numpy as np
import psutil
import soundfile

from benchmarks.delivery_messages import made
from benchmarks.measure import table, verdict
from benchmarks.sessions import LiveStream, chunk
from benchmarks.topics import Stream, a_broker
from benchmarks.witness import Witness
from transforms.live import RATE_HZ

BATCH, BATCH_S, HOUR_S, CHUNK_S = 8, 2, 3600, 1.0
MOST_MB = 20.0
WARM = 0.2
"""So much of the run is left out before growth is looked at."""
Series = list[tuple[float, float]]
"""How much of the work is done, from 0 to 1, and megabytes."""


def clip(number: int) -> bytes:
    opened = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(RATE_HZ // 4) * (0.01 + number * 1e-5))
    soundfile.write(opened, tone.astype(np.float32), RATE_HZ, format="WAV", subtype="PCM_16")
    return json.dumps({"version": 1, "inputs": {"audio": {"data": base64.b64encode(opened.getvalue()).decode()}}}).encode()


def follow(pid: int, done: Callable[[], float]) -> Series:
    """The process's memory, ten times a second, until all is done or nothing happens for three minutes."""
    process, series = psutil.Process(pid), Series()
    changed_s = time.monotonic()
    while not series or series[-1][0] < 1.0:
        series.append((done(), process.memory_info().rss / 1e6))
        if len(series) < 2 or series[-1][0] > series[-2][0]:
            changed_s = time.monotonic()
        if time.monotonic() - changed_s > 180:
            raise RuntimeError(f"{series[-1][0]:.0%} are done, and no more")
        time.sleep(0.1)
    return series


def ordinary(stream: Stream, batches: int) -> Series:
    """Of a worker that answers `BATCH` messages a batch."""
    count = batches * BATCH
    stream.send([clip(number) for number in range(count)], partitions=4)
    witness = Witness(stream)
    with witness.watching(1.0):
        worker = stream.start("--max-poll", str(BATCH), operation="transcribe")
        series = follow(worker.pid, lambda: len(witness.outcomes) / count)
    stream.stop(worker)
    witness.close()
    return series


def live(stream: LiveStream, seconds: int) -> Series:
    """Of a live worker that hears so much audio of one session."""
    count = round(seconds / CHUNK_S)
    sound = (3000 * np.sin(np.arange(round(CHUNK_S * RATE_HZ)) / 9)).astype(np.int16)
    stream.say(*(chunk("hour", seq, sound, seq == count - 1) for seq in range(count)))
    worker = stream.listen(engine="echo")
    witness = Witness(stream)
    series = follow(worker.pid, lambda: sum(witness.group_offsets().values()) / count)
    stream.stop(worker)
    witness.close()
    stream.producer.close()
    return series


def grown(series: Series) -> tuple[float, float, float, float]:
    """Megabytes after warming up, at the end, and by a straight line through all between; and the most."""
    shares, memory = np.array([one for one in series if one[0] >= WARM]).T
    slope = np.polyfit(shares, memory, 1)[0] * (1 - WARM) if np.ptp(shares) else 0.0
    tenth = max(1, len(memory) // 10)
    return float(np.median(memory[:tenth])), float(np.median(memory[-tenth:])), float(slope), max(mb for _, mb in series)


def report(hour_s: int = HOUR_S) -> str:
    with a_broker() as (broker, folder):
        found = {
            f"{hour_s // BATCH_S:,} batches of {BATCH} messages": grown(
                ordinary(Stream(broker.servers, "memory", made(folder / "memory")), hour_s // BATCH_S)
            ),
            f"live, {hour_s:,} s of audio": grown(live(LiveStream(broker.servers, "live", made(folder / "live")), hour_s)),
        }
    rows = [[name, *(f"{mb:.0f}" for mb in figures)] for name, figures in found.items()]
    figures = table(["worker", "MB after a fifth of it", "MB at the end", "growth between by a straight line, MB", "most, MB"], rows)
    flat = all(max(end - begin, slope) <= MOST_MB for begin, end, slope, _ in found.values())
    return f"{figures}\n\n{verdict(f'after the first fifth at most {MOST_MB:g} MB more', flat)}"
