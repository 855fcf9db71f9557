"""Text from speech: where long audio is cut, and how the words of its pieces become one transcript."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions, split_commas
from transforms.records import Audio, Encoded, Item, Piece, Result

if TYPE_CHECKING:
    from transforms.diarize import Turn

VERSION = 1

CaptionFormat = Literal["srt", "vtt", "tsv", "txt"]


class Options(BaseOptions):
    """Options of every transcribe engine."""

    language: Annotated[str | None, BeforeValidator(lambda value: None if value in ("", "auto") else value)] = Field(
        None, description="language code of the speech; detected when unset"
    )
    task: Literal["transcribe", "translate"] = Field("transcribe", description="translate: into English")
    timestamps: bool = Field(False, description="a time for every word, not only for every segment")
    formats: Annotated[tuple[CaptionFormat, ...], BeforeValidator(split_commas)] = Field(
        (), description="further outputs beside the JSON: srt, vtt, tsv, txt"
    )


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """Pieces of at most `engine.max_s` seconds that are views of the audio, cut in silence where there is one.

    Raises `audio_empty`.
    """
    from transforms.identity import seed

    audio = inputs["audio"]
    assert isinstance(audio, Audio)
    if not audio.frames:
        raise WavemillError("audio_empty", "the audio holds no samples", "audio")
    options, cuts = item.options, [0, audio.frames]
    if 0 < engine.max_s < audio.duration_s:
        from transforms.vad import cut_points

        cuts[1:1] = cut_points(audio, engine.max_s)
        if getattr(options, "speakers", None):
            options = options.model_copy(update={"speakers": None})  # that many speak in the whole: in a piece it may be fewer
    return [
        Piece(
            {**inputs, "audio": Audio(audio.samples[:, start:end], audio.rate_hz)},
            options,
            seed(item.key, index),
            start_s=start / audio.rate_hz,
        )
        for index, (start, end) in enumerate(pairwise(cuts))
    ]


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """One transcript with times from the start of the audio: JSON, and what `formats` asks for besides."""
    from transforms.segments import glue_of, join_texts

    options: Any = item.options
    told = [result.fields for result in results]
    spoken = _language(told)
    segments = [segment for piece, fields in zip(pieces, told, strict=True) for segment in _shifted(fields["segments"], piece.start_s)]
    segments, spoke = _diarized(segments, pieces, told, options)
    transcript = {
        "text": join_texts((fields["text"] for fields in told), glue_of(spoken.get("language"))),
        "language": spoken.get("language"),
        "duration": round(sum(fields["duration_s"] for fields in told), 3),
        "segments": segments,
    }
    fields = {
        "text": transcript["text"],
        "language": transcript["language"],
        "language_probability": spoken.get("language_probability"),
        "duration_s": transcript["duration"],
        "segments": len(transcript["segments"]),
        **_quality(told),
        **spoke,
    }
    outputs = {"transcript": _encoded(_as_json(transcript, options.timestamps), "json")}
    if options.formats:
        from transforms import captions

        outputs |= {format: _encoded(captions.write(transcript, format), format) for format in options.formats}
    return Result(fields, outputs)


def _diarized(
    segments: list[dict[str, Any]], pieces: Sequence[Piece], told: Sequence[Mapping[str, Any]], options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Segments with speakers and the fields `speakers` (how many) or `diarization_error`; untouched when nobody asked."""
    if not getattr(options, "diarize", False):
        return segments, {}
    errors = [fields["diarization_error"] for fields in told if "diarization_error" in fields]
    if errors:
        return segments, {"diarization_error": errors[0]}
    from transforms import diarize

    try:
        found = _turns(pieces, told, options)
        labelled = diarize.label(segments, found) if found else segments
    except Exception as error:  # a clustering may fail in any way, and the transcript stands
        return segments, untold(error)
    return labelled, {"speakers": len({turn.speaker for turn in found})}


def untold(error: Exception) -> dict[str, str]:
    """The field that says why nobody was told apart."""
    return {"diarization_error": f"{type(error).__name__}: {error}"[:300]}


def _turns(pieces: Sequence[Piece], told: Sequence[Mapping[str, Any]], options: Any) -> Sequence[Turn]:
    """Who spoke when, in seconds from the start of the audio: joined turns where pieces have them, else found over the windows of all."""
    from transforms import diarize

    if told and all("turns" in fields for fields in told):
        heard = [
            ([t._replace(start=t.start + p.start_s, end=t.end + p.start_s) for t in f["turns"]], f["speakers"])
            for p, f in zip(pieces, told, strict=True)
        ]
        return diarize.joined(heard, options.speakers)
    windows = [w._replace(start=w.start + p.start_s, end=w.end + p.start_s) for p, f in zip(pieces, told, strict=True) for w in f["voices"]]
    speech = [(a + p.start_s, b + p.start_s) for p, f in zip(pieces, told, strict=True) for a, b in f["speech"]]
    return diarize.turns(windows, speech, options.speakers)


def _language(told: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The fields of the first piece in the language with the most voiced time."""
    voiced_s: dict[str, float] = {}
    for fields in told:
        if fields.get("language"):
            seconds = fields.get("voiced_s") or fields["duration_s"]
            voiced_s[fields["language"]] = voiced_s.get(fields["language"], 0.0) + seconds
    if not voiced_s:
        return {}
    most = max(voiced_s, key=lambda code: voiced_s[code])
    return next(fields for fields in told if fields.get("language") == most)


def _quality(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an engine that checks itself says of its work, over all pieces."""
    if any("coverage" not in fields for fields in told):
        return {}
    voiced_s = sum(fields["voiced_s"] for fields in told)
    covered_s = sum(fields["voiced_s"] * (fields["coverage"] or 0.0) for fields in told)
    return {
        "voiced_s": round(voiced_s, 3),
        "coverage": round(covered_s / voiced_s, 4) if voiced_s else None,
        "retried": sum(fields["retried"] for fields in told),
    }


def _shifted(segments: Sequence[Mapping[str, Any]], by_s: float) -> Iterator[dict[str, Any]]:
    for segment in segments:
        yield {
            "start": round(segment["start"] + by_s, 3),
            "end": round(segment["end"] + by_s, 3),
            "text": segment["text"],
            "words": [
                {
                    "start": round(word.start + by_s, 3),
                    "end": round(word.end + by_s, 3),
                    "word": word.word,
                    "probability": round(word.probability, 3),
                }
                for word in segment.get("words", ())
            ],
        }


def _as_json(transcript: Mapping[str, Any], timestamps: bool) -> str:
    segments = [
        {name: segment[name] for name in ("start", "end", "text", "speaker") if name in segment} for segment in transcript["segments"]
    ]
    if timestamps:
        for shown, segment in zip(segments, transcript["segments"], strict=True):
            shown["words"] = [word | {"word": word["word"].strip()} for word in segment["words"]]
    return json.dumps({**transcript, "segments": segments}, ensure_ascii=False)


def _encoded(text: str, format: str) -> Encoded:
    data = text.encode()
    return Encoded(data, format, hashlib.sha256(data).hexdigest())
