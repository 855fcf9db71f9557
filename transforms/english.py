"""English as it is said: dates, times, money, units, ranges and every other number as words.

The rules run in order, each on what the one before it left: what is long and sure goes first, bare numbers go last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from transforms.english_words import (
    CURRENCIES,
    FRACTIONS,
    MONTH_NAMES,
    MONTHS,
    NOT_PLURAL,
    SCALES,
    SENTENCE_OPENERS,
    SIGNS,
    UNITS,
)

LONGEST = 12
"""Numbers of more digits are said digit by digit."""
Rule = tuple[frozenset[str], re.Pattern[str], Callable[[re.Match[str]], str] | str]
"""Characters of which a text must hold one for the rule to find anything (none: always tried), what it finds, what it says."""

_START = r"(?<![\w.,])"
_NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,4}(?!\d)|\d{1,15})(?:\.\d{1,15})?"
_MONTH = "|".join(sorted([*MONTHS, *(f"{short}\\.?" for short in MONTH_NAMES)], key=len, reverse=True))
_SIGN_STARTS = "".join(sorted({sign[0] for sign in CURRENCIES}))
_SIGN = "|".join(
    f"(?<![A-Za-z]){re.escape(sign)}" if sign[0].isalpha() else re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True)
)
_SIGN = f"(?=[{_SIGN_STARTS}])(?:{_SIGN})"
"""Its first part is there for speed: most places in a text are none where a currency begins."""
_BETWEEN = "".join(map(re.escape, SIGNS))
_UNIT = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))


@lru_cache(maxsize=4096)
def cardinal(digits: str) -> str:
    """The words for a run of digits; digit by digit where it is long or begins with 0."""
    from num2words import num2words

    if len(digits) > LONGEST or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(map(cardinal, digits))
    return str(num2words(int(digits), lang="en")).replace(",", "")


def number(written: str) -> str:
    """The words for `1,234.56`."""
    whole, _, decimals = written.replace(",", "").partition(".")
    return f"{cardinal(whole or '0')} point {' '.join(map(cardinal, decimals))}" if decimals else cardinal(whole)


@lru_cache(maxsize=4096)
def ordinal(digits: str) -> str:
    from num2words import num2words

    return str(num2words(int(digits), lang="en", to="ordinal")).replace(",", "") if len(digits) <= LONGEST else cardinal(digits)


@lru_cache(maxsize=4096)
def year(digits: str) -> str:
    from num2words import num2words

    return str(num2words(int(digits), lang="en", to="year")).replace("oh-", "oh ").replace(",", "")


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}es" if words.endswith("x") else f"{words}s"


def _day(month: int, digits: str, years: str | None) -> str | None:
    if not (1 <= month <= 12 and 1 <= int(digits) <= 31):
        return None
    return f"{MONTHS[month - 1]} {ordinal(digits)}" + (f", {_full_year(years)}" if years else "")


def _full_year(digits: str) -> str:
    if len(digits) == 2:
        digits = ("19" if int(digits) >= 50 else "20") + digits
    return year(digits)


def _month(written: str) -> int:
    name = written.rstrip(".")
    return MONTHS.index(name) + 1 if name in MONTHS else MONTHS.index(MONTH_NAMES[name]) + 1


def _iso_date(m: re.Match[str]) -> str:
    said = _day(int(m[2]), m[3], m[1])
    return f"{said} " if said and m[4] else said or m[0]


def _month_first(m: re.Match[str]) -> str:
    return _day(int(m[1]), m[3], m[4]) or _day(int(m[3]), m[1], m[4]) or m[0]


def _day_first(m: re.Match[str]) -> str:
    return _day(int(m[3]), m[1], m[4]) or _day(int(m[1]), m[3], m[4]) or m[0]


def _month_day(m: re.Match[str]) -> str:
    return _day(_month(m[1]), m[2], m[3]) or m[0]


def _day_month(m: re.Match[str]) -> str:
    month = _month(m[2])
    if not _day(month, m[1], None):
        return m[0]
    return f"the {ordinal(m[1])} of {MONTHS[month - 1]}" + (f", {year(m[3])}" if m[3] else "")


def _phone(m: re.Match[str]) -> str:
    groups = re.findall(r"\d+", m[0])
    plus = "plus " if m[0].startswith("+") else ""
    return f" {plus}" + ", ".join(" ".join(map(cardinal, group)) for group in groups)


def _ends(rest: str) -> str:
    """The full stop that an abbreviation at the end of a sentence shares with it."""
    following = re.match(r"\s*[\"')]*\s*(\w+)?", rest)
    word = following[1] if following else None
    return "." if not rest.strip() or (word and word[0].isupper() and word in SENTENCE_OPENERS) else ""


def _time(m: re.Match[str]) -> str:
    hour, minute, second, half = m[1], m[2], m[3], m[4]
    said = cardinal(str(int(hour)))
    if minute and int(minute):
        said += f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
    if second and int(second):
        said += f" and {cardinal(str(int(second)))} second{'' if int(second) == 1 else 's'}"
    if half:
        return f"{said} {half[0].upper()}M" + (_ends(m.string[m.end() :][:40]) if m[0].endswith(".") else "")
    if minute and not int(minute) and not second:
        return f"{said} o'clock" if 1 <= int(hour) <= 12 else f"{said} hundred"
    return said


def _money(m: re.Match[str]) -> str:
    sign, amount, scale = (m["sign"] or m["after"]).strip(), m["amount"], m["scale"]
    one, many, cent, cents = CURRENCIES[sign]
    whole, _, decimals = amount.replace(",", "").partition(".")
    if scale:
        return f"{number(amount)} {SCALES[scale]} {many}"
    if len(decimals) != 2 or not cents:
        return f"{number(amount)} {one if amount == '1' else many}"
    parts = [f"{cardinal(whole)} {one if whole == '1' else many}"] if int(whole) or not int(decimals) else []
    if int(decimals):
        parts.append(f"{cardinal(str(int(decimals)))} {cent if decimals == '01' else cents}")
    return " and ".join(parts)


def _unit(m: re.Match[str]) -> str:
    one, many = UNITS[m[3]]
    if m[2] == "-":
        return f"{number(m[1])}-{one}"
    return f"{number(m[1])} {one if m[1] == '1' else many}"


def _decade(m: re.Match[str]) -> str:
    if m[1] == "2000":
        return "two thousands"
    return _plural(year(m[1]) if len(m[1]) == 4 else cardinal(m[1]))


def _fraction(m: re.Match[str]) -> str:
    above, below = int(m[1]), int(m[2])
    if below in FRACTIONS and 0 < above < below:
        name = FRACTIONS[below]
        return f" {cardinal(m[1])} {name if above == 1 else 'halves' if below == 2 else f'{name}s'}"
    return f" {cardinal(m[1])} {cardinal(m[2])}"


def _four_digits(m: re.Match[str]) -> str:
    """A year, unless a plural follows: 2024, but 2024 items."""
    following = re.match(r" ([a-z]{2,}s)\b", m.string[m.end() : m.end() + 30])
    before = re.search(r"\b(?:in|since|until|till|by|circa|year|around) $", m.string[max(0, m.start() - 10) : m.start()], re.I)
    counted = following and following[1] not in NOT_PLURAL and not before
    return cardinal(m[0]) if counted else year(m[0])


def _spaced(said: str, m: re.Match[str]) -> str:
    """With a space where it would touch a letter, as in MP3."""
    before = " " if m.start() and m.string[m.start() - 1].isalnum() else ""
    after = " " if m.end() < len(m.string) and m.string[m.end()].isalnum() else ""
    return f"{before}{said}{after}"


def _rule(pattern: str, act: Callable[[re.Match[str]], str] | str, needs: str = "") -> Rule:
    return frozenset(needs), re.compile(pattern), act


_RULES: tuple[Rule, ...] = (
    _rule(rf"\d{{{LONGEST + 1},}}", lambda m: f" {cardinal(m[0])} "),
    _rule(r"(?<![\w.,$£€-])(?:\+?\d{1,3}[ .-]?)?(?:\(\d{2,4}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])", _phone),
    _rule(r"(?<!\w)\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\w)", _phone, "+"),
    _rule(r"(?<![\w.,$£€-])\d{3}-\d{4}(?![\w-])", _phone, "-"),
    _rule(r"(?<![\w.,$£€-])\d{3}-\d{2}-\d{4}(?![\w-])", _phone, "-"),
    _rule(r"(?<![\w.,$£€])\d{10,12}(?<!000)(?![\w,]|\.\d)", _phone),
    _rule(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)(T(?=\d))?", _iso_date, "-"),
    _rule(rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?(?!\w|[:.,/-]\d)(?:,? (\d{{4}})(?![\w,-]))?", _month_day),
    _rule(rf"(?<![\w.,:/-])(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\b(?:,? (\d{{4}})(?![\w,-]))?", _day_month),
    _rule(r"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:Z\b|\s?([AaPp])(?:\.\s?[Mm]\.|[Mm]\b))?", _time, ":"),
    _rule(r"(?<![\d:.,])(1[0-2]|0?[1-9])()()\s?([AaPp])(?:\.\s?[Mm]\.|[Mm]\b)", _time, "Mm"),
    _rule(rf"(?<=\d)\s?[-–]\s?(?=(?:{_SIGN})\s?\d)", " to ", "-–"),
    _rule(rf"({_SIGN})({_NUMBER})(?: to |\s?[-–]\s?)(?:{_SIGN})?(?=\d)", r"\2 to \1", "-–"),
    _rule(r"(?<![\w.,/-])([\d.,]{1,20}%?)\s?[-–]\s?(?=\d[\d.,]{0,20}(?![\w-]*-|/))", r"\1 to ", "-–"),
    _rule(rf"(?<![\w)])[-−](?=(?:{_SIGN})?\s?\.?\d)", " minus ", "-−"),
    _rule(rf"(?:(?P<sign>{_SIGN})\s?(?P<amount>{_NUMBER}))(?P<after>)(?:\s?(?P<scale>{'|'.join(SCALES)})\b)?", _money, _SIGN_STARTS),
    _rule(
        rf"{_START}(?P<sign>)(?P<amount>{_NUMBER})(?:\s?(?P<scale>million|billion|trillion))?\s?(?P<after>{_SIGN})(?!\w)",
        _money,
        _SIGN_STARTS,
    ),
    _rule(r"\d+(?:\.\d+){2,}", lambda m: " point ".join(map(cardinal, m[0].split("."))), "."),
    _rule(r"(?<![\w.,])(\d)'\s?(\d{1,2})\"", lambda m: f"{cardinal(m[1])} foot {cardinal(m[2])}", "'"),
    _rule(r"(?<!\w)'?((?:1[1-9]|20)\d0|[2-9]0)'?s\b", _decade, "s"),
    _rule(rf"{_START}({_NUMBER})([ -]?)({_UNIT})(?![\w/])(?:\.(?= [a-z]))?", _unit),
    _rule(rf"(?<![\w.,])({_NUMBER})\s?%", lambda m: f"{number(m[1])} percent", "%"),
    _rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:st|nd|rd|th)\b", lambda m: ordinal(m[1].replace(",", "")), "tnr"),
    _rule(r"(?<![\w.,/])(\d{1,4})/(\d{1,4})(?![\w/]|[.,]\d)", _fraction, "/"),
    _rule(rf"(?<=\d)\s?([{_BETWEEN}])\s?(?=\d)", lambda m: f" {SIGNS[m[1]]} "),
    _rule(r"#\s?(?=\d)", "number ", "#"),
    _rule(r"[~≈]\s?(?=\d)", "about ", "~≈"),
    _rule(r"(?<![\w.,:/])(?:1[1-9]\d\d|20\d\d)(?![\w:/]|[.,]\d)", _four_digits),
    _rule(r"(?<![\w.])\.(\d{1,15})", lambda m: f"point {' '.join(map(cardinal, m[1]))}", "."),
    _rule(r"(?<=\d),(?=\d)(?!\d{3})", ", ", ","),
    _rule(_NUMBER, lambda m: _spaced(number(m[0]), m)),
    _rule(r"\d+", lambda m: _spaced(" ".join(map(cardinal, m[0])), m)),
)


_SLASHES = re.compile(r"(?<![\w/])(\d{1,2})(/)(\d{1,2})/(\d{4}|\d{2})(?![\w/])")
_DOTS = re.compile(r"(?<![\w.-])(\d{1,2})([.-])(\d{1,2})\2(\d{4})(?![\w-]|\.\d)")


def spell(text: str, day_first: bool = False) -> str:
    """The text with everything that holds a digit as words. `day_first`: 3/5/2024 is in May."""
    date = _day_first if day_first else _month_first
    if "/" in text or "-" in text or "." in text:
        text = _DOTS.sub(date, _SLASHES.sub(date, text))
    held = frozenset(text)
    for needs, pattern, act in _RULES:
        if not needs or not needs.isdisjoint(held):
            text = pattern.sub(act, text)
    return text
