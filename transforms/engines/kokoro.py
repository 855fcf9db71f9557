"""Kokoro: 54 voices in nine languages, by onnxruntime."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from transforms import kokoro_pitch, models, phonemes, steps, synthesize, voices
from transforms.engine import Engine, Place
from transforms.engines.sessions import open_session, provider
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.provenance import PROVENANCE
from transforms.records import Audio, Item, Outcome, Piece, Result
from transforms.voice_library import PACK_SHAPE

if TYPE_CHECKING:
    import numpy as np

Heard = tuple[str, "np.ndarray", "np.ndarray"]
"""Phonemes, and of them what `Kokoro._say` gives."""
MAX_TOKENS = PACK_SHAPE[0]
VOICES = {
    "a": "af_bella",
    "b": "bf_emma",
    "e": "ef_dora",
    "f": "ff_siwis",
    "h": "hf_alpha",
    "i": "if_sara",
    "j": "jf_alpha",
    "p": "pf_dora",
    "z": "zf_xiaoxiao",
}
"""The voice that speaks a language when none is named."""


class KokoroOptions(synthesize.Options):
    model: Literal["int8", "fp32"] = Field("int8", description="weights: int8 for processors, fp32 for GPUs")
    pitch: float = Field(0.0, ge=-6, le=6, description="semitones above the voice's own pitch")
    pitch_range: float = Field(1.0, ge=0, le=2, description="how far the pitch moves; 0 is monotone, 1 the voice's own")

    @property
    def melody(self) -> dict[str, float]:
        """The inputs of the graph with a melody, where another one is wanted."""
        same = self.pitch == 0 and self.pitch_range == 1
        return {} if same else {kokoro_pitch.PITCH: 2 ** (self.pitch / 12), kokoro_pitch.RANGE: self.pitch_range}


class Kokoro(Engine):
    """Kokoro-82M. Its graph holds nothing random: the same phonemes give the same samples."""

    name = "kokoro"
    operation = "synthesize"
    version = 1
    Options: ClassVar[type[synthesize.Options]] = KokoroOptions
    requires: ClassVar[tuple[str, ...]] = ("misaki", "onnxruntime")
    languages = tuple(phonemes.LANGUAGES.values())
    rate_hz = 24000
    max_chars = 350
    max_tokens = MAX_TOKENS
    cost_s = 0.04
    gated = True

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        assert isinstance(options, KokoroOptions)
        return f"kokoro-{options.model}", "kokoro-voices"

    def weights(self, options: BaseOptions) -> str:
        mix, _ = self._said_by(options)
        return f"{models.identity(self.models(options)[0])}+{voices.pack_digest(self.name, mix)}"

    def language(self, options: BaseOptions) -> str:
        return phonemes.LANGUAGES[self._said_by(options)[1]]

    def check(self, item: Item) -> None:
        self._said_by(item.options)

    def load(self, place: Place) -> None:
        provider(place)
        self._place, self._lock = place, threading.Lock()
        self._sessions: dict[tuple[str, bool], Any] = {}
        self._pack = lru_cache(maxsize=64)(partial(voices.read_pack, models_dir=place.models_dir))

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.together(pieces, self._phonemes, partial(self._speak, pieces))

    def close(self) -> None:
        self._sessions.clear()
        self._pack.cache_clear()

    def _said_by(self, options: BaseOptions) -> tuple[voices.Mix, str]:
        """The voices of the options, and Kokoro's letter for the language. The heaviest voice decides what is not said."""
        assert isinstance(options, synthesize.Options)
        name = options.voice or VOICES[phonemes.letter(options.language, "a")]
        mix = voices.resolve(self.name, name)
        language = options.language or voices.own_language(options.voice)
        return mix, phonemes.letter(language, voices.letter_of(voices.heaviest(mix)))

    def _phonemes(self, piece: Piece) -> tuple[str, str]:
        """A text, and how it is said. Raises `empty_text`."""
        text = str(piece.inputs["text"])
        _, language = self._said_by(piece.options)
        said = phonemes.phonemes(text, language)
        if not any(symbol.isalpha() for symbol in said):
            raise WavemillError("empty_text", f"nothing in {text[:40]!r} can be spoken", "text")
        return text, said

    def _speak(self, pieces: Sequence[Piece], prepared: Sequence[tuple[str, str]]) -> Iterator[Outcome]:
        import numpy as np

        options = pieces[0].options
        assert isinstance(options, synthesize.Options)
        mix, _ = self._said_by(options)
        told = {"provenance": PROVENANCE} if voices.of_recording(options.voice) else {}
        heard = self._heard([said for _, said in prepared], self._pack(mix), options, self.max_tokens)
        for (text, _), of_one in zip(prepared, heard, strict=True):
            parts, samples, spans = zip(*of_one, strict=True)
            audio = Audio(np.concatenate(samples)[None], self.rate_hz)
            yield Result(self._told(text, parts, spans, options) | told, {"audio": audio})

    def _heard(self, said: Sequence[str], pack: np.ndarray, options: synthesize.Options, limit: int) -> list[list[Heard]]:
        """The parts of each piece's phonemes in the voice of a pack, of at most `limit` phonemes each; as many at once as there are pieces."""
        import numpy as np

        parts = [list(_cut(one, limit)) for one in said]
        ids = [[phonemes.ALPHABET[symbol] for symbol in part] for part in chain.from_iterable(parts)]
        given = [(np.array([0, *one, 0], np.int64), pack[len(one) - 1, 0]) for one in ids]
        made = (one for start in range(0, len(given), len(said)) for one in self._say(given[start : start + len(said)], options))
        return [[(part, *next(made)) for part in of_one] for of_one in parts]

    def _told(self, text: str, parts: Sequence[str], spans: Sequence[np.ndarray], options: synthesize.Options) -> dict[str, Any]:
        """What else is known of a text whose phonemes were said in those parts."""
        return {}

    def _say(self, given: Sequence[tuple[np.ndarray, np.ndarray]], options: synthesize.Options) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of tokens of shape (n,), ends included, each in a style of shape (256,): samples, float32 of shape (frames,).

        And the frames of each token, of shape (n,), or (0,) where they are not known.
        """
        import numpy as np

        assert isinstance(options, KokoroOptions)
        session = self._session(self.models(options)[0], bool(options.melody))
        tokens, styled, speed, *_ = (input.name for input in session.get_inputs())
        numbers = {name: np.array([value], np.float32) for name, value in {speed: options.speed, **options.melody}.items()}
        made = [session.run(None, {tokens: ids[None], styled: style[None], **numbers})[0] for ids, style in given]
        return [(np.asarray(one, np.float32).reshape(-1), np.zeros(0, np.int64)) for one in made]

    def _session(self, model_id: str, melodic: bool) -> Any:
        with self._lock:
            if (model_id, melodic) not in self._sessions:
                row = models.known(model_id)
                path = models.folder(model_id, self._place.models_dir) / row.files[0].name
                graph = kokoro_pitch.with_pitch(path) if melodic else b""
                self._sessions[model_id, melodic] = open_session(path, self._place, graph)
            return self._sessions[model_id, melodic]


def _cut(said: str, limit: int) -> Iterator[str]:
    """Phonemes in parts of at most `limit`, cut after a sentence, else a clause, else a word."""
    while len(said) > limit:
        ends = (max(said.rfind(mark, limit // 2, limit) for mark in marks) for marks in (".!?…", ",;:—", " "))
        end = next((end + 1 for end in ends if end >= 0), limit)
        yield said[:end].strip()
        said = said[end:].strip()
    if said:
        yield said
