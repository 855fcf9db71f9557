"""Speech written down again: eight plain sentences a language, spoken in the engine's own voice and heard by whisper-base.

Whisper is told the language. What it mishears counts against the voice, so that a row is at best as good as whisper-base is
in that language (Hindi: poor). For Hindi and Chinese it is also given a sentence in the script that is wanted, else it often
writes Urdu or traditional characters. Japanese and Chinese are counted by letters, and by sounds (kana; pinyin without
tones), for the same word may be written in several ways. kokoro-torch is measured where
torch is installed, in three languages, for its phonemes and voices are those of kokoro.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import table
from benchmarks.speech import hear, saved, speak
from benchmarks.spoken import SENTENCES
from benchmarks.words import WITHOUT_SPACES, letter_errors, sound_errors, word_errors

VOICES = (
    *(("kokoro", language) for language in ("en-us", "en-gb", "es", "fr", "hi", "it", "ja", "pt-br", "zh")),
    ("piper", "en-us"),
    *((("kokoro-torch", language) for language in ("en-us", "es", "ja")) if find_spec("torch") else ()),
)

PROMPTS = {"hi": "नमस्ते, आप कैसे हैं?", "zh": "以下是普通话的句子。"}


def report() -> str:
    rows = []
    for engine, spoken in VOICES:
        language = spoken.split("-")[0]
        said = list(SENTENCES[language])
        audio = speak(said, engine, language=spoken)
        with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder:
            heard = hear(
                [saved(one, Path(folder) / f"{n}.wav") for n, one in enumerate(audio)],
                language=language,
                initial_prompt=PROMPTS.get(language),
            )
        spaced = language not in WITHOUT_SPACES
        rows.append([
            engine,
            spoken,
            f"{sum(one.duration_s for one in audio):.0f}",
            f"{word_errors(said, heard, language):.1%}" if spaced else "-",
            f"{letter_errors(said, heard, language):.1%}",
            "-" if spaced else f"{sound_errors(said, heard, language):.1%}",
        ])  # fmt: skip
    return table(["engine", "language", "audio, s", "word error rate", "letters", "sounds"], rows) + "\n"


if __name__ == "__main__":
    print(report())
