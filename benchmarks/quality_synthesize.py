"""Speech written down again: eight plain sentences a language, spoken in the engine's own voice and heard by whisper-base.

Whisper is told the language. What it mishears counts against the voice, so that a row is at best as good as whisper-base is
in that language (Hindi: poor). For Hindi and Chinese it is also given a sentence in the script that is wanted, else it often
writes Urdu or traditional characters. Japanese and Chinese are counted by letters, and by sounds (kana; pinyin without
tones), for the same word may be written in several ways. kokoro-torch and sherpa are measured where their extras are installed;
sherpa is given the real weights of Kokoro and of Piper's joe, in folders as it wants them.

Not measured, because their weights are on the model hub alone: chatterbox in its 22 languages, piper's voices but joe (so in no
language but en-us), and sherpa's vits, melotts, matcha and kitten. echo speaks no words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from benchmarks.speech import hear, saved, speak
from benchmarks.spoken import SENTENCES
from benchmarks.words import WITHOUT_SPACES, letter_errors, sound_errors, word_errors
from tests.transforms.engines import sherpa_folders
from transforms.engines.kokoro import VOICES
from transforms.phonemes import letter

NINE = ("en-us", "en-gb", "es", "fr", "hi", "it", "ja", "pt-br", "zh")
ROWS = (
    *(("kokoro", language) for language in NINE),
    ("piper", "en-us"),
    *(("kokoro-torch", language) for language in NINE),
    *(("sherpa, kokoro", language) for language in NINE),
    ("sherpa, piper", "en-us"),
)
"""An engine, of sherpa with the kind of its model, and a language."""
NEEDS = {"kokoro-torch": "torch", "sherpa": "sherpa_onnx"}
HEAD = ("engine", "language", "audio, s", "word error rate", "letters", "sounds")

PROMPTS = {"hi": "नमस्ते, आप कैसे हैं?", "zh": "以下是普通话的句子。"}


def grow(old: str) -> Iterator[str]:
    """The table, again after every row that `old` did not have and that can be measured here."""
    kept = {tuple(cells[:2]): cells for cells in (line.strip("| ").split(" | ") for line in old.splitlines() if line.startswith("| "))}
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder:
        for title, language in ROWS:
            engine, _, kind = title.partition(", ")
            if (title, language) in kept or (engine in NEEDS and find_spec(NEEDS[engine]) is None):
                continue
            options = _folder(kind, Path(folder), language) if kind else {}
            kept[title, language] = [title, language, *measured(engine, language, Path(folder), options)]
            yield _written(kept)
    yield _written(kept)


def _written(kept: dict[tuple[str, ...], list[str]]) -> str:
    return table(HEAD, [kept[row] for row in ROWS if row in kept]) + "\n"


def _folder(kind: str, folder: Path, language: str) -> dict[str, Any]:
    """The options by which sherpa speaks a language with that kind of model; Kokoro in the voice that the engine kokoro takes."""
    if kind == "kokoro":
        made = sherpa_folders.kokoro(folder / f"kokoro-{language}", (VOICES[letter(language, "a")],))
    else:
        made = sherpa_folders.piper(folder / kind)
    return {"kind": kind, "model_dir": str(made)}


def measured(engine: str, spoken: str, folder: Path, options: dict[str, Any]) -> list[str]:
    """Seconds of audio, and the errors of words, letters and sounds."""
    language = spoken.split("-")[0]
    said = list(SENTENCES[language])
    audio = speak(said, engine, language=spoken, **options)
    files = [saved(one, folder / f"{n}.wav") for n, one in enumerate(audio)]
    heard = hear(files, language=language, initial_prompt=PROMPTS.get(language))
    spaced = language not in WITHOUT_SPACES
    return [
        f"{sum(one.duration_s for one in audio):.0f}",
        f"{word_errors(said, heard, language):.1%}" if spaced else "-",
        f"{letter_errors(said, heard, language):.1%}",
        "-" if spaced else f"{sound_errors(said, heard, language):.1%}",
    ]


if __name__ == "__main__":
    for text in grow(""):
        print(text)
