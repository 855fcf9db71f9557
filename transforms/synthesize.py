"""Speech from text: how a text becomes pieces an engine can say, and how what it said is joined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from transforms import identity, sentences
from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.lexicon import mask, read_lexicon
from transforms.options import AudioOptions
from transforms.records import Audio, Item, Piece, Result
from transforms.text import base, clean, say

VERSION = 1
MAX_PAUSES_S = 3600.0
"""The longest silence that all markers of a text can make together."""


class Options(AudioOptions):
    """Options of every synthesize engine."""

    voice: str = Field("", description="voice id, or a weighted mix as af_bella:0.6+af_sky:0.4; the engine's own when unset")
    speed: float = Field(1.0, ge=0.5, le=2.0, description="speaking rate")
    language: str | None = Field(None, description="language code (en, es, ...); that of the voice when unset")
    normalize: bool = Field(True, description="say numbers, dates, money and abbreviations as words")
    lexicon: Annotated[dict[str, str], BeforeValidator(read_lexicon)] = Field(
        {}, description="words and how to say them: a file of WORD<TAB>SAY lines, or a mapping"
    )
    sentence_pause: float = Field(0.25, ge=0, le=10, description="seconds of silence between sentences")
    paragraph_pause: float = Field(0.6, ge=0, le=10, description="seconds of silence between paragraphs")


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """A sentence a piece, the very short ones with a neighbour, each followed by its pause.

    A marker's pause stands in the place of the sentence's or paragraph's, and is not scaled by the speed as those are.
    Raises `empty_text` where nothing can be said, `audio_too_long` where the markers ask for hours of silence.
    """
    options = item.options
    assert isinstance(options, Options)
    sentence_s, paragraph_s = options.sentence_pause / options.speed, options.paragraph_pause / options.speed
    found: list[tuple[str, float]] = []
    lead_s = marked_s = total_s = 0.0
    for passage, seconds in sentences.pauses(clean(str(inputs["text"]))):
        said = list(_say(passage, options, engine, sentence_s, paragraph_s))
        if said:
            found += said
            marked_s = 0.0
        if seconds is None:
            break
        marked_s = min(marked_s + seconds, sentences.MAX_PAUSE_S)
        total_s += seconds
        if found:
            found[-1] = (found[-1][0], marked_s)
        else:
            lead_s = marked_s
    if not found:
        raise WavemillError("empty_text", "there is nothing to say in the text", "text")
    if total_s > MAX_PAUSES_S:
        raise WavemillError("audio_too_long", f"{total_s:.0f} s of pauses, more than {MAX_PAUSES_S:.0f}", "text")
    text, _ = found[-1]
    found[-1] = (text, marked_s)
    return [
        Piece({"text": text}, options, identity.seed(item.key, n), 0.0, pause_s, 0.0 if n else lead_s)
        for n, (text, pause_s) in enumerate(found)
    ]


def _say(passage: str, options: Options, engine: Engine, sentence_s: float, paragraph_s: float) -> Iterator[tuple[str, float]]:
    """What is to be said of a text without markers, each part under the engine's limit, with the pause after it."""
    language = engine.language(options)
    masked, unmask = mask(passage, options.lexicon)
    for paragraph in sentences.paragraphs(masked):
        text = unmask(say(paragraph, language) if options.normalize else paragraph)
        limit = engine.max_chars or len(text)
        said: list[tuple[str, float]] = []
        for sentence in sentences.pack(sentences.sentences(text, base(language)), limit):
            for part, clause in sentences.cut(sentence, limit) if len(sentence) > limit else ((sentence, True),):
                if sentences.spoken(part):
                    said.append((part, sentence_s / 2 if clause else 0.0))
            if said:
                said[-1] = (said[-1][0], sentence_s)
        if said:
            said[-1] = (said[-1][0], paragraph_s)
        yield from said


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """The pieces' audio with its pauses. Fields: those of the engine, `characters` of the text given and `pieces`.

    A list `words` of `{word, start, end}`, in seconds of the piece as the engine spoke it, becomes one in seconds of the whole.
    Of real speech (`engine.gated`) each piece's own silence at its edges is cut to 30 ms. Raises `engine_error` naming a
    piece that is mostly silent, or much too short or long for its text.
    """
    gated = list(_gated(pieces, results, engine))
    heard = [audio for audio, _ in gated]
    given = item.inputs["text"]
    characters = len(given.value) if given.kind == "text" else sum(len(str(piece.inputs["text"])) for piece in pieces)
    fields = {**_merge([result.fields for result in results]), "characters": characters, "pieces": len(pieces)}
    if any("words" in result.fields for result in results):
        fields["words"] = _words(pieces, results, gated)
    if _alone(pieces, engine):
        return Result(fields, {"audio": heard[0]})
    from transforms.blocks import gather

    rates = {(audio.rate_hz, audio.channels) for audio in heard}
    if len(rates) > 1:
        raise WavemillError("engine_error", f"{engine.name} spoke the pieces of one text at {sorted(rates)} (Hz, channels)")
    rate_hz, channels = rates.pop()
    return Result(fields, {"audio": gather(_blocks(pieces, heard), rate_hz, channels)})


def stream(pieces: Sequence[Piece], results: Iterable[Result], engine: Engine) -> Iterator[Audio]:
    """What `join` makes, in parts: each piece with its pauses as soon as its result is there. Raises as `join` does."""
    from transforms.blocks import gather

    for piece, (audio, _) in zip(pieces, _gated(pieces, results, engine), strict=True):
        yield audio if _alone(pieces, engine) else gather(_blocks([piece], [audio]), audio.rate_hz, audio.channels)


def _alone(pieces: Sequence[Piece], engine: Engine) -> bool:
    """Whether what the engine says is all that is heard, as it is."""
    return len(pieces) == 1 and not (engine.gated or pieces[0].lead_s or pieces[0].pause_s)


def _words(pieces: Sequence[Piece], results: Sequence[Result], gated: Sequence[tuple[Audio, int]]) -> list[dict[str, Any]]:
    """The words of all pieces where they stand in the whole; what was cut off at an edge takes no time from a word inside."""
    found, at_s = [], 0.0
    for piece, result, (audio, cut_frames) in zip(pieces, results, gated, strict=True):
        at_s += piece.lead_s
        for word in result.fields.get("words", ()):
            start, end = (min(max(word[edge] - cut_frames / audio.rate_hz, 0.0), audio.duration_s) for edge in ("start", "end"))
            found.append({"word": word["word"], "start": round(at_s + start, 3), "end": round(at_s + end, 3)})
        at_s += audio.duration_s + piece.pause_s
    return found


def _gated(pieces: Sequence[Piece], results: Iterable[Result], engine: Engine) -> Iterator[tuple[Audio, int]]:
    """The audio of each piece, and the frames that were cut from its beginning."""
    from transforms.blocks import release

    for n, (piece, result) in enumerate(zip(pieces, results, strict=True), 1):
        audio = result.outputs["audio"]
        yield _gate(n, len(pieces), piece, audio) if engine.gated else (audio, 0)
        release(audio.samples)


def _gate(n: int, of: int, piece: Piece, audio: Audio) -> tuple[Audio, int]:
    from transforms import speech

    text, blocks = str(piece.inputs["text"]), speech.levels(audio)
    why = speech.doubt(audio, blocks, text, piece.options.speed)
    if why:
        raise WavemillError("engine_error", f"piece {n} of {of} ({text[:40]!r}) cannot be that text spoken: {why}")
    return speech.trim(audio, blocks)


def _blocks(pieces: Sequence[Piece], heard: Sequence[Audio]) -> Iterator[Any]:
    import numpy as np

    from transforms.blocks import release
    from transforms.speech import fade

    for piece, audio in zip(pieces, heard, strict=True):
        for seconds, samples in ((piece.lead_s, None), (0.0, fade(audio)), (piece.pause_s, None)):
            if samples is not None:
                yield samples
            elif seconds:
                yield np.zeros((audio.channels, round(seconds * audio.rate_hz)), np.float32)
        release(audio.samples)


def _merge(all_fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One piece's fields, or those of several: numbers added up, of anything else the first piece's."""
    merged = dict(all_fields[0])
    for fields in all_fields[1:]:
        for name, value in fields.items():
            if name in merged and type(value) in (int, float) and type(merged[name]) in (int, float):
                merged[name] += value
            else:
                merged.setdefault(name, value)
    return merged
