"""Real transcriptions (faster-whisper, tiny.en) through workers that are killed with SIGKILL, join and leave at random moments.

Sentences of Piper's, each said at ten loudnesses, so that every clip is heard by the model; half of them come inline, half by URI.
One in twenty comes twice, their order is shuffled, every fiftieth is poison: no claim, no audio, or no file.
"""

from __future__ import annotations

import base64
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.delivery_messages import Sent, made, mixed, prove, told
from benchmarks.measure import verdict
from benchmarks.sessions import speak
from benchmarks.spoken import SENTENCES
from benchmarks.topics import Stream, a_broker
from benchmarks.witness import Outcome
from benchmarks.words import word_errors
from transforms.live import RATE_HZ
from transforms.pull import pull
from transforms.settings import Settings

NAMES = ("Anna", "Robert", "Mary", "Peter", "Helen", "George", "Susan")
LOUDNESSES = 10
FLAGS = ("-O", "model=tiny.en", "-O", "beam_size=1", "-O", "language=en", "--max-poll", "4", "--workers", "1")
MOST_WRONG = 0.1


def texts(count: int) -> list[str]:
    return [f"{NAMES[index // 8 % 7]} says: {SENTENCES['en'][index % 8]}" for index in range(count)]


def clips(said: list[str]) -> list[np.ndarray]:
    """Each text said once, as int16 samples."""
    pull("whisper-tiny.en", Settings())
    return speak(said)


def file(samples: np.ndarray, loudness: int) -> bytes:
    opened = io.BytesIO()
    soundfile.write(opened, (samples * (0.3 + 0.07 * loudness)).astype(np.int16), RATE_HZ, format="FLAC")
    return opened.getvalue()


def claims(count: int, voices: list[np.ndarray], folder: Path, chance: random.Random) -> list[Sent]:
    def claim(id: str, audio: Any) -> bytes:
        return json.dumps({"version": 1, "id": id, "inputs": {"audio": audio}}).encode()

    def good(index: int) -> Sent:
        data = file(voices[index % len(voices)], index // len(voices) % LOUDNESSES)
        path = folder / f"{index}.flac"
        if index % 2:
            path.write_bytes(data)
        audio = str(path) if index % 2 else {"data": base64.b64encode(data).decode()}
        return Sent(claim(f"c{index}", audio), Outcome(f"c{index}", ""))

    bad = (
        lambda index: Sent(b"[]", Outcome("", "bad_message")),
        lambda index: Sent(claim(f"n{index}", {"data": base64.b64encode(b"no audio" * 50).decode()}), Outcome(f"n{index}", "bad_audio")),
        lambda index: Sent(claim(f"g{index}", str(folder / f"{index}.gone")), Outcome(f"g{index}", "input_not_found")),
    )
    return mixed(count, good, bad, (), chance)


def heard(stream: Stream, count: int, said: list[str], kills: int, guests: int, chance: random.Random) -> tuple[dict[str, object], float]:
    """The account, and how much of the words is wrong."""
    sent = claims(count, clips(said), made(stream.folder / "clips"), chance)
    account, witness = prove(stream, sent, kills, guests, chance, *FLAGS, operation="transcribe", engine="faster-whisper")
    results = [one for found in witness.outcomes.values() for one in found if not one.code]
    wrong = word_errors([said[int(one.id[1:]) % len(said)] for one in results], [one.text for one in results])
    return account, wrong


def report(count: int = 500, kills: int = 20) -> str:
    chance = random.Random(11)
    with a_broker() as (broker, folder):
        stream = Stream(broker.servers, "clips", made(folder / "clips"), 6)
        account, wrong = heard(stream, count, texts(count // LOUDNESSES), kills, 3, chance)
    text = told(account | {"words that are wrong": f"{wrong:.3f}"})
    return (
        f"{text}\n\n{verdict(f'at most {MOST_WRONG:.0%} of the words wrong, so that results are of their own clips', wrong <= MOST_WRONG)}"
    )
