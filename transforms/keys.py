"""Keys: which one the pitch classes of a piece are in, its place on the Camelot wheel, and the keys that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

STEPS = 10
"""Steps a semitone in a fine profile, which begins at C (of 440 Hz tuning)."""

NAMES = {
    "Major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "Minor": ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}
"""Spelled with the fewest accidentals in the signature; six sharps rather than six flats."""

PROFILES = {
    "Major": (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    "Minor": (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
}
"""Albrecht and Shanahan 2013, who compare by distance: by correlation minor keys are more often taken for their relative major.

On generated music the profiles of Krumhansl and Kessler 1982 are right a tenth less often.
"""
SURE_LEAD = 0.2
"""Lead of a key's correlation over that of the best other from which on the key is as sure as its correlation."""


class Key(NamedTuple):
    """`tonic` counts semitones from C; `scale` is `Major` or `Minor`."""

    tonic: int
    scale: str

    @property
    def name(self) -> str:
        return NAMES[self.scale][self.tonic]

    @property
    def camelot(self) -> str:
        """The place on the wheel: a fifth up is one further, and relative keys share a number (C Major is 8B, A Minor 8A)."""
        major = self.tonic if self.scale == "Major" else self.tonic + 3
        return f"{(7 * major + 7) % 12 + 1}{'B' if self.scale == 'Major' else 'A'}"

    @property
    def relative(self) -> Key:
        """The key of the other scale with the same signature."""
        return Key((self.tonic + 9) % 12, "Minor") if self.scale == "Major" else Key((self.tonic + 3) % 12, "Major")

    @property
    def compatible(self) -> tuple[Key, ...]:
        """Itself, its neighbours a fifth up and down, and its relative: what the wheel says mixes well."""
        return self, Key((self.tonic + 7) % 12, self.scale), Key((self.tonic + 5) % 12, self.scale), self.relative

    def __str__(self) -> str:
        return f"{self.name} {self.scale}"


KEYS = tuple(Key(tonic, scale) for scale in NAMES for tonic in range(12))


def find_key(pitches: Sequence[float]) -> tuple[Key | None, float]:
    """The key whose profile is nearest to a fine profile of 12 * STEPS pitch classes, and how sure that is, 0..1.

    Sure is what also correlates well, and better than any other. The tuning is taken out first. None and 0 for a profile without any preference.
    """
    import numpy as np

    semitones = _tuned(np.asarray(pitches, np.float64))
    if np.ptp(semitones) <= 1e-9 * max(1.0, semitones.max()):
        return None, 0.0
    shapes = np.array([np.roll(PROFILES[key.scale], key.tonic) for key in KEYS])
    best = int(np.square(shapes / shapes.sum(axis=1, keepdims=True) - semitones / semitones.sum()).sum(axis=1).argmin())
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.sqrt((shapes**2).sum(axis=1, keepdims=True))
    given = semitones - semitones.mean()
    scores = (shapes * given).sum(axis=1) / np.sqrt((given**2).sum())
    lead = scores[best] - np.delete(scores, best).max()
    return KEYS[best], round(float(np.clip(scores[best], 0, 1) * np.clip(lead / SURE_LEAD, 0, 1)), 3)


def _tuned(pitches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Twelve pitch classes, each the sum around where the tuning puts it."""
    import numpy as np

    turns = np.exp(2j * np.pi * np.arange(len(pitches)) / STEPS)
    off = round(float(np.angle((pitches * turns).sum()) / (2 * np.pi) * STEPS))
    window = np.hanning(STEPS + 3)[1:-1]  # to a quarter tone on each side
    reach = len(window) // 2
    around = np.sum([weight * np.roll(pitches, reach - index) for index, weight in enumerate(window)], axis=0)
    return np.asarray(np.roll(around, -off)[::STEPS])
