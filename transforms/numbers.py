"""Numbers as words in other languages than English, by num2words, which has no Chinese and no Hindi: their digits stay."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

LONGEST, LONGEST_ELSEWHERE = 12, 9
"""Numbers of more digits are said digit by digit: num2words fails beyond, in languages without a row in `LOCALES` earlier."""


@dataclass(frozen=True, slots=True)
class Locale:
    """How a language writes its numbers, and the words between them. `zero_cents` begins what follows whole amounts."""

    group: str = ""
    decimal: str = ""
    point: str = ""
    percent: str = ""
    to: str = " "
    minus: str = ""
    at: str = "@"
    dot: str = "."
    slash: str = "/"
    ordinal: str = ""
    zero_cents: str = ""
    years: bool = False


LOCALES = {
    "es": Locale(".", ",", "coma", "por ciento", "a", "menos", "arroba", "punto", "barra", r"\.?º", " con cero "),
    "fr": Locale(" ", ",", "virgule", "pour cent", "à", "moins", "arobase", "point", "barre", r"(?:ers?|[eè]re|e|ème)\b", " et zéro "),
    "it": Locale(".", ",", "virgola", "per cento", "a", "meno", "chiocciola", "punto", "barra", "º", " e zero "),
    "pt": Locale(".", ",", "vírgula", "por cento", "a", "menos", "arroba", "ponto", "barra", r"\.?º", " e zero "),
    "de": Locale(".", ",", "Komma", "Prozent", "bis", "minus", "at", "Punkt", "Schrägstrich", "", " und null ", True),
    "nl": Locale(".", ",", "komma", "procent", "tot", "min", "apenstaartje", "punt", "schuine streep", "", ", nul ", True),
    "ja": Locale(",", ".", "点", "パーセント", "から", "マイナス", "アット", "ドット", "スラッシュ"),
}
"""Languages whose decimals, amounts and percentages are said too."""
INTEGERS_ONLY = {
    "ar", "az", "be", "bn", "ca", "cs", "cy", "da", "eo", "fa", "fi", "he", "hu", "id", "is", "ko", "kz", "lt", "lv",
    "no", "pl", "ro", "ru", "sk", "sl", "sr", "sv", "te", "tg", "th", "tr", "uk", "vi",
}  # fmt: skip
"""Languages of num2words where only plain whole numbers are said, and everything else is left to the engine."""
CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP"}


@lru_cache(maxsize=4096)
def cardinal(digits: str, language: str) -> str:
    """The words for a run of digits; digit by digit where it is long or begins with 0."""
    from num2words import num2words

    if len(digits) > (LONGEST if language in LOCALES else LONGEST_ELSEWHERE) or (len(digits) > 1 and digits[0] == "0"):
        return ("" if language == "ja" else " ").join(cardinal(digit, language) for digit in digits)
    said = num2words(int(digits), lang="pt_BR" if language == "pt" else language)
    return " ".join(str(said).replace(",", "").split())


def _decimals(digits: str, language: str) -> str:
    """What stands after the decimal sign: as a number where that is usual and it is short, else digit by digit."""
    if language in ("es", "fr", "it", "pt") and len(digits) <= 2:
        return cardinal(digits, language)
    return ("" if language == "ja" else " ").join(cardinal(digit, language) for digit in digits)


@cache
def _rules(language: str) -> tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]:
    spoken = LOCALES.get(language)
    if spoken is None:
        bare = re.compile(r"(?<![\d.,:/-])\d+(?![\d:/-]|[.,]\d)")
        return ((bare, lambda m: f" {cardinal(m[0], language)} "),)
    space = "" if language == "ja" else " "
    group = "[    ]" if spoken.group == " " else re.escape(spoken.group)
    whole = rf"\d{{1,3}}(?:{group}\d{{3}}){{1,4}}(?!\d)|\d{{1,15}}"
    decimal = rf"(?:{re.escape(spoken.decimal)}|\.(?=\d{{1,2}}(?![\d.,])))"
    number = rf"({whole})(?:{decimal}(\d{{1,15}})(?!\d))?"
    start = r"(?<![\d.,])"

    def say(integer: str, fraction: str | None) -> str:
        said = cardinal(re.sub(r"\D", "", integer), language)
        return f"{said}{space}{spoken.point}{space}{_decimals(fraction, language)}" if fraction else said

    def amount(sign: str, integer: str, fraction: str | None) -> str:
        from decimal import Decimal

        from num2words import num2words

        digits = re.sub(r"\D", "", integer)
        if sign == "R$":
            return f"{say(integer, fraction)} reais"
        if not spoken.zero_cents or len(digits) > LONGEST or len(fraction or "") > 2:
            return f"{say(integer, fraction)} {sign}"
        value = Decimal(f"{digits}.{fraction or '00'}")
        said = str(num2words(value, lang=language, to="currency", currency=CURRENCIES[sign]))
        return said.partition(spoken.zero_cents)[0].replace(",", "")

    def ordinal(m: re.Match[str]) -> str:
        from num2words import num2words

        return f"{num2words(int(m[1]), lang=language, to='ordinal')} "

    def plain(m: re.Match[str]) -> str:
        if spoken.years and m[2] is None and re.fullmatch(r"1[1-9]\d\d", m[1]):
            from num2words import num2words

            return f" {num2words(int(m[1]), lang=language, to='year')} "
        return f"{space}{say(m[1], m[2])}{space}"

    rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (rf"{start}\d{{{LONGEST + 1},}}", lambda m: f" {cardinal(m[0], language)} "),
        (rf"(R\$|[$€£])\s?{number}", lambda m: f" {amount(m[1], m[2], m[3])} "),
        (rf"{start}{number}\s?(R\$|[$€£])", lambda m: f" {amount(m[3], m[1], m[2])} "),
        (rf"{start}{number}\s?%", lambda m: f"{space}{say(m[1], m[2])}{space}{spoken.percent}{space}"),
        (r"(?<![\d/–-])(\d{1,9})\s?[-–]\s?(\d{1,9})(?![\d/–-])", lambda m: f"{m[1]}{space}{spoken.to}{space}{m[2]}"),
        (r"(?<=\d)[:/–-](?=\d)", lambda m: " "),
        (r"(?<![\w.,–)-])[-−](?=\d)", lambda m: f" {spoken.minus} "),
        (rf"{start}{number}", plain),
        (r"\d+", lambda m: f" {cardinal(m[0], language)} "),
    ]
    if spoken.ordinal:
        rules.insert(1, (rf"{start}(?<!\w)(\d{{1,4}}){spoken.ordinal}", ordinal))
    return tuple((re.compile(pattern), act) for pattern, act in rules)


def spell(text: str, language: str) -> str:
    """The text with its numbers as words, where num2words knows the language."""
    if language not in LOCALES and language not in INTEGERS_ONLY:
        return text
    for pattern, act in _rules(language):
        text = pattern.sub(act, text)
    return text
