"""Language codes: the two-letter ones people write, the three-letter ones that translation data is named by."""

from __future__ import annotations

_CODES = """
af:afr an:arg ar:ara be:bel bg:bul bn:ben br:bre bs:hbs ca:cat cs:ces cy:cym da:dan de:deu el:ell en:eng eo:epo es:spa et:est
eu:eus fa:pes fi:fin fr:fra ga:gle gl:glg he:heb hi:hin hr:hbs hu:hun hy:hye id:ind is:isl it:ita ja:jpn ka:kat kk:kaz ko:kor
ky:kir lt:lit lv:lvs mk:mkd ms:zsm mt:mlt nb:nob nl:nld nn:nno no:nob oc:oci pl:pol pt:por ro:ron ru:rus sc:srd se:sme sh:hbs
sk:slk sl:slv sq:als sr:hbs sv:swe sw:swh ta:tam te:tel th:tha tr:tur tt:tat uk:ukr ur:urd vi:vie zh:zho
"""
_ISO3 = dict(pair.split(":") for pair in _CODES.split())


def iso3(code: str) -> str:
    """`spa` of `es`, `es-MX`, `spa` or `spa_Latn`; a code that is not in the table stays what it is."""
    base = code.replace("_", "-").partition("-")[0].lower()
    return _ISO3.get(base, base)


def same_language(one: str, other: str) -> bool:
    """Whether two codes name one language, whatever their form and region."""
    return iso3(one) == iso3(other)


def region(code: str) -> str:
    """`BR` of `pt-BR`, or nothing."""
    return code.replace("_", "-").partition("-")[2]
