"""Speech said again in its own or another voice, at another speed and in another mood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from transforms import convert_voice, revoice
from transforms.engine import Engine
from transforms.records import Audio, Item, Piece
from transforms.revoice import join

__all__ = ["PRESETS", "VERSION", "Options", "Preset", "coloured", "join", "paced", "split"]

VERSION = 1


class Preset(NamedTuple):
    """An emotion as prosody: how fast, how high (semitones), how far its pitch moves, how long its pauses are, how loud (decibels).

    The pitch moves further only where the voice can do that itself, as Kokoro's can.
    """

    rate: float
    semitones: float
    range: float
    pauses: float
    energy_db: float


PRESETS = {
    "neutral": Preset(1.0, 0.0, 1.0, 1.0, 0.0),
    "happy": Preset(1.08, 1.0, 1.3, 0.9, 1.5),
    "sad": Preset(0.88, -1.0, 0.6, 1.35, -3.0),
    "angry": Preset(1.1, 0.5, 1.2, 0.75, 4.0),
    "excited": Preset(1.18, 1.5, 1.5, 0.7, 3.0),
}
"""Joy and anger are faster, higher, livelier and louder, sadness is slower, lower, flatter and quieter (Murray and Arnott, 1993).

How much is our choice, tried on no listener.
"""


class Options(convert_voice.Options):
    """Options of every restyle engine. Without voice and target the nearest voice to the source's own speaks."""

    speed: float = Field(1.0, ge=0.5, le=2.0, description="rate over that of the source")
    emotion: Literal["neutral", "happy", "sad", "angry", "excited"] = Field(
        "neutral", description="a preset of rate, pitch, pauses and energy"
    )


def in_own_voice(options: Any) -> bool:
    """Whether no other voice is named."""
    return not (options.voice or options.tts.get("voice"))


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """As `revoice.split`, in its own voice where no other is named."""
    return revoice.split(item, inputs, engine, own_voice=in_own_voice(item.options))


def paced(segments: Sequence[Mapping[str, Any]], total_s: float, preset: Preset) -> tuple[list[dict[str, Any]], float]:
    """Segments spoken at the preset's rate, with its pauses between them, and the whole's new length."""
    moved, at, before = [], 0.0, 0.0
    for segment in segments:
        at += max(0.0, segment["start"] - before) * preset.pauses
        length = (segment["end"] - segment["start"]) / preset.rate
        moved.append({"start": at, "end": at + length, "text": segment["text"]})
        at, before = at + length, segment["end"]
    return moved, at + max(0.0, total_s - before) * preset.pauses


def coloured(audio: Audio, preset: Preset, semitones: float) -> Audio:
    """The audio moved by `semitones`, at the preset's energy, its peaks held under full scale."""
    import numpy as np

    samples = np.asarray(audio.samples, np.float32)
    if semitones:
        import librosa

        samples = librosa.effects.pitch_shift(samples, sr=audio.rate_hz, n_steps=semitones)
    gain = 10 ** (preset.energy_db / 20)
    peak = float(np.abs(samples).max(initial=0.0))
    return Audio(samples * np.float32(min(gain, 0.98 / peak) if peak else gain), audio.rate_hz)
