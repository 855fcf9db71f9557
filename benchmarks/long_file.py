"""Memory of a three-hour file transcribed with the small model, over the model's own memory.

`docs/quality.md` (Cost) has the other operations over as much.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT, WAVEMILL, run, table

HOURS = 3


def make_long(folder: Path, hours: float) -> Path:
    """Real speech, said once by Piper and repeated to the asked length, as MP3."""
    from transforms import codec
    from transforms.options import AudioOptions

    text = " ".join(json.loads(line)["text"] for line in (ROOT / "examples/story.jsonl").read_text().splitlines())
    said = folder / "story.wav"
    run([*WAVEMILL, "synthesize", text, "-e", "piper", "-o", str(said)])
    audio = codec.decode(said, None, None, 3600.0)
    target = folder / "long.mp3"
    times = int(hours * 3600 / audio.duration_s) + 1
    codec.encode_to(target, (np.asarray(audio.samples) for _ in range(times)), audio.rate_hz, 1, AudioOptions(format="mp3", bitrate=64))
    return target


def report(hours: float = HOURS) -> str:
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as name:
        folder = Path(name)
        long = make_long(folder, hours)
        short = folder / "short.mp3"
        from transforms import codec
        from transforms.options import AudioOptions
        from transforms.records import Audio

        audio = codec.decode(long, None, None, hours * 3600 + 600)
        codec.encode_to(short, iter([audio.samples[:, : 10 * audio.rate_hz]]), audio.rate_hz, 1, AudioOptions(format="mp3"))
        assert isinstance(audio, Audio)
        rows = []
        peaks = []
        for label, path in (("10 s (the model and the program)", short), (f"{hours:g} hours", long)):
            done = run(
                [
                    *WAVEMILL,
                    "run",
                    "transcribe",
                    str(path),
                    "-o",
                    str(folder / path.stem),
                    "--model",
                    "tiny.en",
                    "--beam-size",
                    "1",
                    "--quiet",
                    "--json",
                ]
            )
            summary = json.loads(done.output)
            peaks.append(done.peak_mb)
            rows.append([label, f"{done.peak_mb:.0f}", f"{done.wall_s:.0f}", f"{summary['real_time_factor']:.4f}"])
        rows.append(["**over the model**", f"**{peaks[1] - peaks[0]:.0f}**", "", ""])
    return table(["file", "peak memory of all processes, MB", "wall, s", "real-time factor"], rows) + "\n"


if __name__ == "__main__":
    print(report(float(sys.argv[1]) if len(sys.argv) > 1 else HOURS))
