"""What whisper-base hears of the demo story, told in full by two Kokoro voices and one of Piper: clean, in noise, and enhanced.

The noise is 5 dB below the mean power of the whole telling, at the voice's own rate; enhanced is the noisy file through
`wavemill enhance` as it comes. Numbers are compared as words. Whisper gains nothing by it here.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT, table
from benchmarks.quality_enhance import SNR_DB, noise
from benchmarks.speech import done, hear, saved, speak
from benchmarks.words import word_errors
from transforms.records import Audio

VOICES = (("kokoro", "af_bella"), ("kokoro", "bm_george"), ("piper", "en_US-joe-medium"))
COLOURS = ("white", "pink")


def report() -> str:
    said = " ".join(json.loads(line)["text"] for line in (ROOT / "examples/story.jsonl").read_text().splitlines())
    spoken = [speak([said], engine, voice=voice)[0] for engine, voice in VOICES]
    seconds = sum(audio.duration_s for audio in spoken)
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as name:
        folder = Path(name)
        files = {"clean": [saved(audio, folder / f"{n}.wav") for n, audio in enumerate(spoken)]}
        for colour in COLOURS:
            noisy, enhanced = f"{SNR_DB:g} dB {colour} noise", f"{SNR_DB:g} dB {colour} noise, enhanced"
            files[noisy] = [saved(in_noise(audio, colour), folder / f"{n}-{colour}.wav") for n, audio in enumerate(spoken)]
            files[enhanced] = [folder / f"{n}-{colour}-enhanced.wav" for n in range(len(spoken))]
            for path, result in zip(files[enhanced], done("enhance", files[noisy], format="wav"), strict=True):
                path.write_bytes(result.outputs["audio"].data)
        heard = {condition: hear(paths, language="en") for condition, paths in files.items()}
    rows = [
        [condition, *(f"{word_errors([said], [one]):.1%}" for one in texts), f"{word_errors([said] * len(texts), texts):.1%}"]
        for condition, texts in heard.items()
    ]
    return table([f"{seconds:.0f} s of speech", *(voice for _, voice in VOICES), "word error rate of all"], rows) + "\n"


def in_noise(audio: Audio, colour: str) -> Audio:
    """Mono speech with noise, all made quieter where the sum would clip."""
    clean = audio.samples[0].astype(np.float64)
    added = noise(colour, len(clean))
    added *= np.sqrt(np.square(clean).mean() / np.square(added).mean() / 10 ** (SNR_DB / 10))
    both = clean + added
    return Audio((both / max(1.0, np.abs(both).max())).astype(np.float32)[None], audio.rate_hz)


if __name__ == "__main__":
    print(report())
