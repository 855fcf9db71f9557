"""A recording that says whose voice is meant: whether it can say so, and the nearest mix of stock voices.

A mix of packs sounds between its voices, so the mix nearest to a reference is found by non-negative least squares over the
stock voices' embeddings. `voice_bank.npy` holds those: float16 of shape (54, 256), each
the speaker encoder's mean over three sentences said by the voice, in the order of `models.KOKORO_PACKS`; `python -m benchmarks.voice_bank` makes it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transforms import diarize, vad
from transforms.errors import WavemillError
from transforms.models import KOKORO_PACKS
from transforms.records import Audio
from transforms.speakers import RATE_HZ, SpeakerEncoder, similarity
from transforms.voices import Mix

LEAST_S, MOST_S = 3.0, 600.0
"""Seconds of speech that a voice can be known by, and seconds of audio beyond which it is no reference but a recording."""
HEARD_S = 60.0
"""Speech that is listened to; more says no more."""
SECOND_SHARE = 0.2
"""The part of the speech from which another voice in it is a second speaker."""
SPEECH_SHARE = 0.25
"""Where less of the sound than this is speech, it is music or noise with some voice in it."""
MOST_VOICES = 5


class Nearest(NamedTuple):
    """A mix of stock voices, and how near to the reference its embedding is expected to be (a cosine)."""

    mix: Mix
    similarity: float


def embed(encoder: SpeakerEncoder, audio: Audio, field: str = "reference") -> np.ndarray:
    """The voice of a mono recording, the item's `field`: float32 of shape (256,), of unit length.

    Raises `bad_reference`: too short or too long, silent, without speech, or of two speakers.
    """
    try:
        return _embed(encoder, audio)
    except WavemillError as error:
        if error.code != "bad_reference":
            raise
        raise WavemillError(error.code, error.detail, field) from None


def _embed(encoder: SpeakerEncoder, audio: Audio) -> np.ndarray:
    heard = _at_encoder_rate(_checked(audio))
    if float(np.abs(heard.samples).max(initial=0.0)) < 1e-3:
        raise _refused("is silent")
    spans = vad.find_speech(heard)
    speech_s = sum(end - start for start, end in spans) / RATE_HZ
    if speech_s < LEAST_S:
        why = "holds no speech" if speech_s < 0.5 else f"holds {speech_s:.1f} s of speech"
        raise _refused(f"{why}; a voice is known from {LEAST_S:.0f} s on")
    if speech_s < SPEECH_SHARE * _sounding_s(heard):
        raise _refused(f"is mostly music or noise: {speech_s:.1f} s of speech in {_sounding_s(heard):.0f} s of sound")
    windows = diarize.listen(encoder, heard, spans)
    turns = diarize.turns(windows, [(start / RATE_HZ, end / RATE_HZ) for start, end in spans])
    seconds: dict[int, float] = {}
    for turn in turns:
        seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + turn.end - turn.start
    if len(seconds) > 1 and sorted(seconds.values())[-2] >= SECOND_SHARE * sum(seconds.values()):
        raise _refused(f"is of {len(seconds)} speakers; cut it to the one that is meant")
    said = np.concatenate([heard.samples[:, start:end] for start, end in spans], axis=1)
    return encoder.embed(Audio(said[:, : round(HEARD_S * RATE_HZ)], RATE_HZ))


def _refused(why: str) -> WavemillError:
    return WavemillError("bad_reference", f"the reference {why}")


def _checked(audio: Audio) -> Audio:
    if audio.duration_s > MOST_S:
        raise _refused(f"is {audio.duration_s:.0f} s long, more than {MOST_S:.0f}; cut out a part where one speaker is heard")
    if audio.duration_s < LEAST_S:
        raise _refused(f"is {audio.duration_s:.1f} s long; a voice is known from {LEAST_S:.0f} s of speech on")
    return audio


def _at_encoder_rate(audio: Audio) -> Audio:
    from transforms.blocks import gather, resample

    return gather(resample([audio.samples[:1]], audio.rate_hz, RATE_HZ, 1), RATE_HZ, 1)


def _sounding_s(audio: Audio) -> float:
    """Seconds that are not silence."""
    whole = audio.frames // 1600 * 1600
    loud = np.abs(audio.samples[0, :whole]).reshape(-1, 1600).max(axis=1, initial=0.0)
    return float((loud > 0.05 * loud.max(initial=0.0)).sum()) / 10


@cache
def bank() -> np.ndarray:
    """The stock voices' embeddings, float32 of shape (54, 256)."""
    found: np.ndarray = np.load(Path(__file__).with_name("voice_bank.npy")).astype(np.float32)
    return found


def nearest(voice: np.ndarray, without: str = "") -> Nearest:
    """The mix of at most `MOST_VOICES` stock voices nearest to an embedding; `without` leaves one out, for measuring."""
    from scipy.optimize import nnls

    ids = [id for id in KOKORO_PACKS if id != without]
    known = np.stack([row for id, row in zip(KOKORO_PACKS, bank(), strict=True) if id != without])
    weights, _ = nnls(known.T.astype(np.float64), voice.astype(np.float64))
    kept = np.argsort(-weights, kind="stable")[:MOST_VOICES]
    kept = kept[weights[kept] > 0.05 * weights[kept[0]]]
    shares = np.round(weights[kept] / weights[kept].sum(), 2)
    shares[0] += 1 - shares.sum()
    found = {ids[n]: float(share) for n, share in zip(kept, np.round(shares, 2), strict=True) if share > 0}
    blend = np.sum([share * known[ids.index(id)] for id, share in found.items()], axis=0)
    return Nearest(tuple(sorted(found.items())), similarity(blend, voice))


def written(mix: Mix) -> str:
    """The mix as the option `voice` takes it."""
    return "+".join(f"{id}:{weight:g}" for id, weight in mix)
