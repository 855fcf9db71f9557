"""What English writes short: months, currencies, units, signs and abbreviations, each with the words for it."""

from __future__ import annotations

import re

MONTHS = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip
MONTH_NAMES = {month[:3]: month for month in MONTHS if month != "May"} | {"Sept": "September"}

CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "US$": ("US dollar", "US dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "USD": ("US dollar", "US dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "JPY": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "¢": ("cent", "cents", "", ""),
}  # fmt: skip
SCALES = {
    "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion",
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
    "bn": "billion", "b": "billion", "B": "billion", "tn": "trillion",
}  # fmt: skip

_UNIT_NAMES = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "nm": "nanometer",
    "mi": "mile", "yd": "yard", "kg": "kilogram", "g": "gram", "mg": "milligram", "lb": "pound", "lbs": "pound",
    "oz": "ounce", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter", "s": "second", "sec": "second",
    "ms": "millisecond", "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "yr": "year",
    "yrs": "year", "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "kWh": "kilowatt hour", "V": "volt", "mA": "milliampere",
    "dB": "decibel", "px": "pixel", "ha": "hectare", "cal": "calorie", "kcal": "kilocalorie",
    "km²": "square kilometer", "m²": "square meter", "cm²": "square centimeter", "m³": "cubic meter",
    "cm³": "cubic centimeter", "km2": "square kilometer", "m2": "square meter", "m3": "cubic meter",
    "°": "degree",
}  # fmt: skip
UNITS = {short: (name, f"{name}s") for short, name in _UNIT_NAMES.items()} | {
    "ft": ("foot", "feet"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "mph": ("mile per hour", "miles per hour"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "m/s": ("meter per second", "meters per second"),
    "fps": ("frame per second", "frames per second"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "° C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "° F": ("degree Fahrenheit", "degrees Fahrenheit"),
}
FRACTIONS = {
    2: "half", 3: "third", 4: "quarter", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth", 10: "tenth",
    12: "twelfth", 16: "sixteenth", 20: "twentieth", 32: "thirty-second", 64: "sixty-fourth", 100: "hundredth",
}  # fmt: skip
SIGNS = {
    "×": "times", "x": "by", "*": "times", "+": "plus", "=": "equals", "÷": "divided by", "<": "is less than",
    ">": "is more than", "±": "plus or minus", "≤": "is at most", "≥": "is at least", ":": "to",
}  # fmt: skip
"""Between two numbers."""
NOT_PLURAL = {"as", "was", "is", "has", "does", "this", "its", "us", "his", "perhaps", "always", "across", "towards", "thus"}
"""Words in s after a year that do not count things."""
SENTENCE_OPENERS = {
    "A", "After", "All", "An", "And", "As", "At", "But", "By", "For", "From", "He", "Her", "Here", "His", "How", "I",
    "If", "In", "It", "Its", "My", "No", "Now", "Of", "On", "Once", "One", "Or", "Our", "She", "So", "Some", "That",
    "The", "Their", "Then", "There", "These", "They", "This", "Those", "To", "We", "What", "When", "Where", "Which",
    "While", "Who", "Why", "With", "Yes", "You", "Your",
}  # fmt: skip
"""Words that begin a sentence after an abbreviation, where another capital may as well be a name."""

_TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Gen": "General", "Col": "Colonel",
    "Lt": "Lieutenant", "Capt": "Captain", "Sgt": "Sergeant", "Maj": "Major", "Rev": "Reverend", "Hon": "Honorable",
    "Gov": "Governor", "Sen": "Senator", "Rep": "Representative", "Pres": "President", "Adm": "Admiral",
    "Mt": "Mount", "Ft": "Fort", "Fr": "Father",
}  # fmt: skip
_SHORT = {
    "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department", "Dept": "Department",
    "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation", "Co": "Company", "Bros": "Brothers",
    "Jr": "Junior", "Sr": "Senior", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Univ": "University",
    "govt": "government", "Govt": "Government", "Assn": "Association", "est": "established", "Est": "Established",
    "e.g": "for example", "E.g": "For example", "i.e": "that is", "I.e": "That is", "a.k.a": "also known as",
    "cf": "compare", "al": "al", "misc": "miscellaneous",
}  # fmt: skip
_NUMBERED = {
    "No": "Number", "no": "number", "Nos": "Numbers", "nos": "numbers", "p": "page", "pp": "pages", "Vol": "Volume",
    "vol": "volume", "Ch": "Chapter", "ch": "chapter", "Fig": "Figure", "fig": "figure", "Figs": "Figures",
    "figs": "figures", "Sec": "Section", "sec": "section", "Eq": "Equation", "eq": "equation", "Art": "Article",
    "art": "article", "Apt": "Apartment", "apt": "apartment", "ca": "circa", "c": "circa",
}  # fmt: skip


def _any(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_TITLE = re.compile(rf"\b({_any(_TITLES)})\.(?=\s*[^\W\d_a-z])|\b(Mr|Mrs|Ms|Prof)(?:\.|(?= [A-Z][a-z]))")
_ABBREVIATION = re.compile(rf"(?<![\w.])({_any(_SHORT)})\.(?!\w)|(?<![\w.])(vs|etc)\b")
_COUNTED = re.compile(rf"(?<![\w.])({_any(_NUMBERED)})\.\s?(?=\d)|№\s?(?=\d)")
_DOCTOR = re.compile(r"\b(Dr|St)(?:\.|(?= [A-Z][a-z]))(?:(?=\s+([^\W\d_]\w*))|(?!\w))")
_NAME_BEFORE = re.compile(r"[A-Z][a-z]+ $|\d(?:st|nd|rd|th) $")
_WORD = re.compile(r"[A-Za-z]+")
_WITH = re.compile(r"(?<!\w)w/(o?)(?![\w/])")
STARTING = {*_TITLES, *_SHORT, "Dr", "St", "e", "E", "k"}
"""Words of which a text without digits, signs and dots inside words must hold one for `expand` to have something to do."""


def _street_or_saint(m: re.Match[str]) -> str:
    """St. and Dr. after a name are a street's, unless a name follows too."""
    after = m[2] or ""
    named = _NAME_BEFORE.search(m.string[max(0, m.start() - 30) : m.start()])
    if named and (not after[:1].isupper() or after in SENTENCE_OPENERS):
        return ("Drive" if m[1] == "Dr" else "Street") + ("." if not m[2] or after in SENTENCE_OPENERS else "")
    return "Doctor" if m[1] == "Dr" else "Saint"


def _keep_stop(m: re.Match[str]) -> str:
    """The words, and the full stop where it also ends the sentence."""
    said = _SHORT[m[1] or m[2]]
    if m[2]:
        return said
    rest = m.string[m.end() : m.end() + 40].lstrip(" \"')")
    word = re.match(r"\w+", rest)
    return said + ("." if not rest or (word and word[0] in SENTENCE_OPENERS) else "")


def expand(text: str) -> str:
    """The text with its abbreviations as words."""
    words = set(_WORD.findall(text))
    if not STARTING.isdisjoint(words):
        text = _TITLE.sub(lambda m: _TITLES[m[1] or m[2]], text)
        text = _DOCTOR.sub(_street_or_saint, text)
        text = _ABBREVIATION.sub(_keep_stop, text)
    if "№" in text or not _NUMBERED.keys().isdisjoint(words):
        text = _COUNTED.sub(lambda m: f"{_NUMBERED[m[1]] if m[1] else 'number'} ", text)
    return _WITH.sub(lambda m: "without" if m[1] else "with", text) if "w/" in text else text
