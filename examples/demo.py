"""The main job from end to end, by the commands a user types: speak a story, join it, transcribe it back, measure all three.

Exits with 1 when the result is not good enough, or with a command's own exit code when that fails.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jiwer

from benchmarks.words import words_of
from transforms import codec, loudness

ROOT = Path(__file__).parent.parent
STORY = Path("examples/story.jsonl")
OUT = Path("out/demo")
LOUDNESS_LUFS, TRUE_PEAK_DBTP = -16.0, -1.0
MOST_ERRORS, MOST_OFF_LU = 0.03, 0.5


def call(*words: str | Path) -> float:
    """Run one `wavemill` command, as shown, and give its wall time in seconds. Ends this program when it fails."""
    command = ["wavemill", *map(str, words)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    started = time.monotonic()
    code = subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], cwd=ROOT, check=False).returncode
    if code:
        raise SystemExit(code)
    return time.monotonic() - started


def main() -> int:
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    speech, transcript = OUT / "story.mp3", OUT / "story.txt"
    spoke_s = call("run", "synthesize", STORY, "-o", OUT / "story")
    call("join", OUT / "story", "-o", speech, "--loudness", f"{LOUDNESS_LUFS:g}", "--true-peak", f"{TRUE_PEAK_DBTP:g}")
    heard_s = call("transcribe", speech, "-o", transcript)

    audio = codec.decode(speech, None, None, max_s=3600)
    measured = loudness.measure(audio)
    passages = [json.loads(line)["text"] for line in STORY.read_text().splitlines()]
    compared = jiwer.process_words(words_of("\n".join(passages)), words_of(transcript.read_text()))
    heard = sum(map(len, compared.references))

    print(f"""
speech      {speech}
            {audio.duration_s:.1f} s, {measured.lufs:.2f} LUFS, true peak {measured.true_peak_dbtp:.2f} dBTP
transcript  {transcript}
            word error rate {compared.wer:.2%} of {heard} words
real time   spoken in {spoke_s:.1f} s (factor {spoke_s / audio.duration_s:.3f}), transcribed in {heard_s:.1f} s \
(factor {heard_s / audio.duration_s:.3f}), start and downloads included""")
    faults = [
        said
        for bad, said in (
            (compared.wer > MOST_ERRORS, f"the word error rate is over {MOST_ERRORS:.0%}"),
            (
                abs(measured.lufs - LOUDNESS_LUFS) > MOST_OFF_LU,
                f"the loudness is more than {MOST_OFF_LU} LU off {LOUDNESS_LUFS:g}",
            ),
            (measured.true_peak_dbtp > TRUE_PEAK_DBTP, f"the true peak is over {TRUE_PEAK_DBTP:g} dBTP"),
        )
        if bad
    ]
    for fault in faults:
        print(f"not good enough: {fault}", file=sys.stderr)
    if compared.wer > 0:
        print("\nheard otherwise:")
        for part in compared.alignments[0]:
            if part.type != "equal":
                said = " ".join(compared.references[0][part.ref_start_idx : part.ref_end_idx])
                got = " ".join(compared.hypotheses[0][part.hyp_start_idx : part.hyp_end_idx])
                print(f"  {said or '-'} > {got or '-'}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
