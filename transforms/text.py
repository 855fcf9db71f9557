"""Text as it is said: clean characters always, and on request numbers, dates, money and abbreviations as words."""

from __future__ import annotations

import re
import unicodedata

_BREAKS = dict.fromkeys(map(ord, "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), "\n") | {ord("\n"): "\n", ord("\t"): " "}
_PLAIN = {ord(sign): plain for signs, plain in (
    ("“”„‟«»〝〞″", '"'), ("‘’‚‛′´ʼ＇", "'"), ("‐‑−﹣－", "-"), ("―⸺⸻", "—"), ("‒", "–"), ("℃", "°C"), ("℉", "°F"),
    ("…", "..."), ("⁄∕", "/"), ("％", "%"), ("＄", "$"), ("＆", "&"), ("＠", "@"), ("＋", "+"), ("∗", "*"),
) for sign in signs}  # fmt: skip
_KEPT_SIGNS = frozenset("°€£$¥₹₩₿¢%")


class _Clean(dict[int, str]):
    """What each character becomes: line breaks one kind, control, zero-width, private and unassigned ones nothing."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        self[code] = "" if kind[0] == "C" else " " if kind == "Zs" else chr(code)
        return self[code]


class _Tidy(dict[int, str]):
    """Typographic signs plain, digits and letters of other styles ordinary, emoji and ornaments nothing."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        kind = unicodedata.category(sign)
        if kind == "Nd":
            self[code] = str(unicodedata.decimal(sign))
        elif 0x1D400 <= code <= 0x1D7FF:
            self[code] = unicodedata.normalize("NFKC", sign)
        elif (kind in ("So", "Sk", "Me") and sign not in _KEPT_SIGNS) or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
            self[code] = " " if kind == "So" else ""
        else:
            self[code] = sign
        return self[code]


_clean, _tidy = _Clean(_BREAKS), _Tidy(_PLAIN | {ord("`"): "", ord("^"): "^"})

_ADDRESS = re.compile(
    r"(?:\bhttps?://|\bwww\.)(?:www\.)?([^\s<>\"')\]]{1,400})|(?<![\w.@])([\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[A-Za-z]{2,24})\b"
    r"|(?<![\w.@])((?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|org|net|io|dev|edu|gov|ai|app|info|co\.uk)\b(?:/[\w./-]{0,200})?)"
)
_DOTTED = re.compile(r"\w\.[A-Za-z]|://|@")
_SPACES = re.compile(r"[ \t]{2,}|\t")
"""One space a run before all else, so that the patterns below ask for one at most and stay linear."""
_LINK = re.compile(r"!?\[([^\[\]\n]{1,300})\]\([^()\s]{1,500}\)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>")
_LINE_START = re.compile(r"(?m)^ ?(?:(?:#{1,6}|>|[-*+•‣–—]) )+")
_RULE = re.compile(r"(?m)^ ?(?:[-*_=~] ?){3,}$")
_DASH = re.compile(r"([,.;:!?]?)(?: ?(?:—|--+) ?|(?<!\d) [–-] | [–-] (?!\d))")
_EVENINGS = tuple(
    (re.compile(pattern, re.MULTILINE), plain)
    for pattern, plain in (
        (r" {2,}", " "),
        (r" ?\n ?", "\n"),
        (r"\( ?\)|\[ ?\]|\"\"", ""),
        (r" (?=[,;:!?](?![^\s\"'),;:!?])|\.(?!\w))", ""),
        (r"([,;:])(?:\s?[,;:])+", r"\1"),
        (r",(?=[.!?])", ""),
        (r"\.{4,}", "..."),
        (r"([!?])\1+", r"\1"),
        (r"^[ ,;:]+|(?<! ) $", ""),
    )
)
_UNEVEN = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _EVENINGS).replace(r"\1", "[,;:!?]"), re.MULTILINE)
"""Whether any of them has something to do; none reads a group, so that they can stand in one pattern."""
_NOT_PLAIN = re.compile(
    r"[^A-Za-z ,.!?;:'\"()\n-]| [ ,;:.!?\n-]|\.[A-Za-z]|-[- \n]|[,;:!?][,;:.!?]|\.\.\.\.|\n[ ,;:-]|^[ ,;:-]|\( ?\)|\"\"| $"
)
_WORD = re.compile(r"[A-Za-z]+")
_ENGLISH_SIGNS = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r" ?& ?", " and "),
        (r" ?%", " percent"),
        (r"#(?=\w)", "hashtag "),
        (r"@(?=\w)", " at "),
        (r"\+", " plus "),
        (r" = ", " equals "),
        (r"(?<=\w)/(?=\w)", " "),
        (r"(?<=\w)[²]", " squared"),
        (r"(?<=\w)[³]", " cubed"),
        (r"§ ?(?=\w)", "section "),
        (r"[†‡•‣⁃※§¶/=@#°$€£¥₹₩₿¢<>]", " "),
    )
)
_SIGNED = frozenset("&%#@+=/²³§†‡•‣⁃※¶°$€£¥₹₩₿¢<>")
_DASHES = frozenset("-–—")
_NOISE = str.maketrans({"–": "-", "*": "", "_": " ", "\\": " ", "|": ",", "~": "", "^": "", "[": "(", "]": ")", "{": "(", "}": ")"})


def base(language: str) -> str:
    """`en` of `en-GB` or `en_us`."""
    return language.replace("_", "-").partition("-")[0].lower()


def clean(text: str) -> str:
    """The text in NFC, its lines ended by a newline, without control, zero-width, private or unassigned characters.

    Right for any string, and for its own result changes nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", text.translate(_clean))


def normalize(text: str, language: str = "en") -> str:
    """The text as words an engine can say, in `language`; right for any string, and for its own result changes nothing.

    English is done in full. Of other languages numbers, decimals, amounts and percentages are said where num2words knows
    them; the rest is left to the engine. Markdown, emoji and typographic signs go in every language.
    """
    return say(clean(text), language)


def say(text: str, language: str) -> str:
    """`normalize` for a text that is clean already; private characters in it pass through as words."""
    english = base(language) == "en"
    if english and _is_plain(text):
        return text
    for _ in range(4):
        said = _say(text, language, english)
        if said == text or (english and _is_plain(said)):
            return said
        text = said
    return text


def _say(text: str, language: str, english: bool) -> str:
    text = unicodedata.normalize("NFC", text.translate(_tidy))
    if "  " in text or "\t" in text:
        text = _SPACES.sub(" ", text)
    text = _TAG.sub(" ", _LINK.sub(r"\1", _LINE_START.sub("", _RULE.sub("", text))))
    if not _DASHES.isdisjoint(text):
        text = _DASH.sub(lambda m: f"{m[1]} " if m[1] else ", ", text)
    text = _in_english(text, language) if english else _in_other(text, base(language))
    text = text.translate(_NOISE)
    if _UNEVEN.search(text):
        for pattern, plain in _EVENINGS:
            text = pattern.sub(plain, text)
    return text.strip()


def _in_english(text: str, language: str) -> str:
    from transforms import english, english_words

    if _DOTTED.search(text):
        text = _ADDRESS.sub(lambda m: _read_address(m, "at", "dot", "slash"), text)
    text = english_words.expand(_expand_numerals(text))
    if any(sign.isdigit() for sign in text):
        text = english.spell(text, day_first=language.lower() in ("en-gb", "en_gb", "en-au", "en-nz", "en-in", "en-ie"))
    if not _SIGNED.isdisjoint(text):
        for pattern, said in _ENGLISH_SIGNS:
            text = pattern.sub(said, text)
    return text


def _expand_numerals(text: str) -> str:
    """½ after a number as `and 1/2`, and other numerals of one character as digits; squares and cubes stay."""
    if text.isascii():
        return text

    def plain(m: re.Match[str]) -> str:
        digits = unicodedata.normalize("NFKC", m[0]).replace("⁄", "/")
        after_digit = m.start() and m.string[m.start() - 1].isdigit()
        return f" and {digits}" if "/" in digits and after_digit else f" {digits}" if "/" in digits else digits

    return re.sub(r"[¼-¾⅐-⅞①-⑳⁰⁴-⁹₀-₉¹]", plain, text)


def _in_other(text: str, language: str) -> str:
    from transforms import numbers

    words = numbers.LOCALES.get(language)
    if words and _DOTTED.search(text):
        text = _ADDRESS.sub(lambda m: _read_address(m, words.at, words.dot, words.slash), text)
    return numbers.spell(text, language) if any(sign.isdigit() for sign in text) else text


def _read_address(m: re.Match[str], at: str, dot: str, slash: str) -> str:
    """An address without its scheme and query, its signs as words."""
    written = re.split(r"[?#]", m[1] or m[2] or m[3], maxsplit=1)[0]
    body = written.rstrip("/.,;:!?")
    said = {"@": at, ".": dot, "/": slash}
    words = "".join(f" {said[sign]} " if sign in said else " " if sign in "-_+=&%~:" else sign for sign in body)
    return f" {' '.join(words.split())} " + written[len(body) :].strip("/")


def _is_plain(text: str) -> bool:
    """Whether an English text surely holds nothing for `normalize` to do, at a fraction of its cost."""
    from transforms.english_words import STARTING

    return text.isascii() and not _NOT_PLAIN.search(text) and STARTING.isdisjoint(_WORD.findall(text))
