"""`python -m benchmarks.live [MODEL ...]`: how soon live sessions in real time are heard, and how many of them one worker keeps up with.

Sessions are spoken by Piper, sent chunk by chunk as each would end, and read committed by an independent consumer on the same machine.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks.measure import ROOT, machine, table
from benchmarks.sessions import CHUNK_S, TEXTS, LiveStream, cut, speak
from benchmarks.topics import a_broker, wait_for
from benchmarks.words import word_errors
from transforms import vad
from transforms.live import RATE_HZ
from transforms.pull import pull
from transforms.records import Audio
from transforms.settings import Settings

PAGE = ROOT / "docs/delivery.md"
BEGIN, END = "<!-- live measured -->\n", "<!-- live measured to here -->\n"
PARTIAL_S, FINAL_S = 2.0, 3.0
COUNTS = (1, 2, 3, 4, 6, 8, 12)
SENTENCES = tuple(f"{sentence.rstrip('.')}." for text in TEXTS for sentence in text.split(". "))


class Spoken(NamedTuple):
    """A session's samples, and where each of its sentences begins and ends, in seconds."""

    samples: np.ndarray
    spans: list[tuple[float, float]]
    text: str


class Measured(NamedTuple):
    """Seconds from a sentence's beginning to its first message, from its end to its last final words; and what it took."""

    first_s: list[float]
    final_s: list[float]
    cpu: float
    wrong: float
    load: float

    @property
    def holds(self) -> bool:
        """Nineteen of twenty sentences."""
        return _high(self.first_s) <= PARTIAL_S and _high(self.final_s) <= FINAL_S


def sessions(count: int) -> list[Spoken]:
    """All sentences, in another order for each."""
    voices = speak(SENTENCES)
    found = []
    for index in range(count):
        order = [(number + index) % len(SENTENCES) for number in range(len(SENTENCES))]
        at_s, spans = 0.0, []
        for number in order:
            speech = vad.find_speech(Audio(voices[number][None].astype(np.float32) / 32768, RATE_HZ))
            spans.append((at_s + speech[0][0] / RATE_HZ, at_s + speech[-1][1] / RATE_HZ))
            at_s += len(voices[number]) / RATE_HZ
        samples = np.concatenate([voices[number] for number in order])
        found.append(Spoken(samples, spans, " ".join(SENTENCES[number] for number in order)))
    return found


def measure(stream: LiveStream, worker: psutil.Process, spoken: Sequence[Spoken], run: str) -> Measured:
    """Send all in real time, a little apart from each other."""
    names = [f"{run}-{index}" for index in range(len(spoken))]
    began_s = {name: time.time() + 1.0 + 0.37 * index for index, name in enumerate(names)}
    chunks = sorted(
        (began_s[name] + (one["seq"] + 1) * CHUNK_S, json.dumps(one).encode(), name)
        for name, session in zip(names, spoken, strict=True)
        for one in cut(name, session.samples)
    )
    arrived: list[tuple[float, dict[str, Any]]] = []
    done = threading.Event()
    reader = stream.reader(stream.output)
    for records in reader.poll(timeout_ms=3000).values():
        del records  # of the runs before

    def listen() -> None:
        while not done.is_set():
            for records in reader.poll(timeout_ms=20).values():
                arrived.extend((time.time(), json.loads(record.value)) for record in records)

    listener = threading.Thread(target=listen)
    listener.start()
    before, started_s = sum(worker.cpu_times()[:2]), time.time()
    for at_s, value, name in chunks:
        time.sleep(max(0.0, at_s - time.time()))
        stream.producer.send(stream.input, key=name.encode(), value=value)
    deadline_s = time.time() + 30
    while time.time() < deadline_s and any(_final_at(arrived, n, s.spans[-1]) is None for n, s in zip(names, spoken, strict=True)):
        time.sleep(0.2)
    cpu_s = sum(worker.cpu_times()[:2]) - before
    done.set()
    listener.join()
    reader.close()
    first, final, texts = [], [], []
    for name, session in zip(names, spoken, strict=True):
        for span in session.spans:
            heard = [at for at, one in arrived if one["session"] == name and one["end_s"] > span[0] + 0.2]
            first.append(min(heard, default=float("inf")) - began_s[name] - span[0])
            final.append((_final_at(arrived, name, span) or float("inf")) - began_s[name] - span[1])
        texts.append(" ".join(one["text"] for _, one in arrived if one["session"] == name and one["kind"] == "final"))
    wrong = word_errors([session.text for session in spoken], texts)
    audio_s = sum(len(session.samples) for session in spoken) / RATE_HZ
    print(f"{run}: {time.time() - started_s:.0f} s", flush=True)
    return Measured(first, final, cpu_s / audio_s, wrong, os.getloadavg()[0])


def _final_at(arrived: Sequence[tuple[float, dict[str, Any]]], name: str, span: tuple[float, float]) -> float | None:
    """When final words came that end where the span does."""
    return next((at for at, one in arrived if one["session"] == name and one["kind"] == "final" and one["end_s"] > span[1] - 0.5), None)


def _high(values: Sequence[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 19 // 20) - 1)]


def report(servers: str, folder: Path, models: Sequence[str]) -> Iterator[list[str]]:
    spoken = sessions(COUNTS[-1])
    for model in models:
        pull(f"whisper-{model}", Settings())
        stream = LiveStream(servers, f"live-{model}-{os.getpid()}", folder, partitions=4)
        started = stream.listen(model=model)
        stream.say(*cut("warm", spoken[0].samples[: 4 * RATE_HZ]))
        reader = stream.reader(stream.output)
        wait_for(lambda reader=reader: bool(reader.poll(timeout_ms=200)), 120)
        reader.close()
        for count in COUNTS:
            found = measure(stream, psutil.Process(started.pid), spoken[:count], f"{model}-{count}")
            times = [f"{statistics.median(v):.2f}, {_high(v):.2f}" for v in (found.first_s, found.final_s)]
            yield [
                model, str(count), *times, f"{found.cpu:.2f}", f"{found.wrong:.3f}", f"{found.load:.1f}", "yes" if found.holds else "no",
            ]  # fmt: skip
            if not found.holds:
                break
        stream.kill(started)
        stream.producer.close()


def main() -> None:
    with a_broker() as (broker, folder):
        rows = list(report(broker.servers, folder, sys.argv[1:] or ["tiny.en", "base"]))
    head = ["model", "streams", "to the first message, s", "to the last final words, s", "CPU a second of audio", "WER", "load", "holds"]
    text = f"{machine()}; `python -m benchmarks.live`.\n\n{table(head, rows)}\n"
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    print(text)


if __name__ == "__main__":
    main()
