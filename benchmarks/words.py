"""What of two texts is compared, and how many errors there are."""

from __future__ import annotations

import unicodedata

import jiwer

from transforms import text

WITHOUT_SPACES = ("ja", "zh")


def words_of(passage: str, language: str = "en") -> str:
    """What is compared: words in small letters, numbers as words on both sides, no punctuation."""
    spoken = unicodedata.normalize("NFKC", text.normalize(passage, language)).lower().replace("-", " ")
    return " ".join("".join(sign for sign in spoken if sign.isspace() or unicodedata.category(sign)[0] in "LMN").split())


def word_errors(said: list[str], heard: list[str], language: str = "en") -> float:
    """The word error rate over all texts together."""
    return float(jiwer.wer([words_of(one, language) for one in said], [words_of(one, language) for one in heard]))


def letter_errors(said: list[str], heard: list[str], language: str) -> float:
    """The error rate of letters, without spaces."""
    given, got = ([words_of(one, language).replace(" ", "") for one in texts] for texts in (said, heard))
    return float(jiwer.cer(given, got))


def sound_errors(said: list[str], heard: list[str], language: str) -> float:
    """The error rate of what Japanese (kana) or Chinese (pinyin without tones) sounds like, however it is written."""
    if language == "ja":
        import fugashi

        tagger = fugashi.Tagger()
        given, got = (
            ["".join(word.feature.pron or word.surface for word in tagger(words_of(one, "ja"))) for one in texts] for texts in (said, heard)
        )
        return float(jiwer.cer(given, got))
    import pypinyin

    given, got = ([" ".join(pypinyin.lazy_pinyin(words_of(one, "zh"))) for one in texts] for texts in (said, heard))
    return float(jiwer.wer(given, got))
