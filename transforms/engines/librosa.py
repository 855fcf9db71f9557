"""librosa's spectra, of which each piece keeps what adds up over pieces: pitch classes and the autocorrelation of its onsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms import analyze
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.keys import STEPS
from transforms.meter import HOP_FRAMES, LAGS, RANGES, RATE_HZ
from transforms.records import Audio, Outcome, Piece, Result

if TYPE_CHECKING:
    import numpy as np

PITCH_WINDOW = 8192
PITCH_HZ = (60.0, 2000.0)
ONSET_WINDOW = 1024
BANDS = 64
BAND_EDGES = (0, 8, 20, 36, 64)
"""Mel bands between the ranges of frequency, `meter.RANGES` of them, whose onsets are heard apart."""
SILENT = 1e-4
"""A piece whose samples all lie below this (-80 dBFS) has neither key nor tempo."""


class Librosa(Engine):
    """Pitch classes from the peaks of long spectra, onsets from the spectral flux of short ones."""

    name = "librosa"
    operation = "analyze"
    Options = analyze.Options
    requires = ("librosa",)
    rate_hz = RATE_HZ
    max_s = 120.0
    cost_s = 0.002

    def load(self, place: Place) -> None:
        try:
            import librosa
            import scipy.sparse

            # librosa imports its parts when they are first touched, which threads must not do at the same time
            self._librosa, _ = librosa, (librosa.stft, librosa.piptrack, librosa.onset.onset_strength_multi)
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"librosa: {error}") from error
        # sparse, because a dense product is computed by every core and in an order that depends on their number
        self._bands = scipy.sparse.csr_matrix(librosa.filters.mel(sr=RATE_HZ, n_fft=ONSET_WINDOW, n_mels=BANDS))

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._describe(piece) for piece in pieces]

    def close(self) -> None:
        del self._librosa, self._bands

    def _describe(self, piece: Piece) -> Outcome:
        import numpy as np

        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        mono = np.asarray(audio.samples[0])
        if np.abs(mono).max() < SILENT:
            pitches, onsets, frames = np.zeros(12 * STEPS), np.zeros((RANGES, LAGS)), 0
        else:
            mono = np.pad(mono, (0, max(0, PITCH_WINDOW - len(mono))))
            pitches = self._pitches(mono)
            onsets, frames = self._onsets(mono)
        return Result({"pitches": tuple(pitches.tolist()), "onsets": onsets.tolist(), "frames": frames, "duration_s": audio.duration_s})

    def _pitches(self, mono: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Loudness of each pitch class in steps of 100 / STEPS cents from C: spectral peaks, as in Gomez 2006."""
        import numpy as np

        spectrum = np.abs(self._librosa.stft(mono, n_fft=PITCH_WINDOW, hop_length=PITCH_WINDOW // 2))
        hz, level = self._librosa.piptrack(S=spectrum, sr=RATE_HZ, fmin=PITCH_HZ[0], fmax=PITCH_HZ[1], threshold=0.05)
        found = level > 0
        steps = np.rint(12 * STEPS * np.log2(hz[found].astype(np.float64) / 440) + 9 * STEPS).astype(int) % (12 * STEPS)
        return np.bincount(steps, np.sqrt(level[found].astype(np.float64)), 12 * STEPS)

    def _onsets(self, mono: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
        """The autocorrelation of the onset strength in each range of frequency, (ranges, lags), and the frames it is over."""
        import numpy as np

        power = np.abs(self._librosa.stft(mono, n_fft=ONSET_WINDOW, hop_length=HOP_FRAMES)) ** 2
        level = self._librosa.power_to_db(self._bands @ power, ref=np.max, top_db=60)
        strengths = self._librosa.onset.onset_strength_multi(S=level, sr=RATE_HZ, hop_length=HOP_FRAMES, channels=list(BAND_EDGES))
        strengths = strengths.astype(np.float64) - strengths.mean(axis=1, keepdims=True, dtype=np.float64)
        frames = strengths.shape[1]
        spectra = np.fft.rfft(strengths, 2 * max(frames, LAGS))
        products = np.fft.irfft(np.abs(spectra) ** 2)[:, :LAGS]
        return products, frames
