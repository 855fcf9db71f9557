"""Speaking and converting by Chatterbox, several pieces at once, each with a voice and dice of its own.

Its library does one at a time, and lets torch's one generator decide. Here each piece meets that generator as it does alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from transforms.chatterbox_model import Chatterboxes, lent

if TYPE_CHECKING:
    import numpy as np


class Take(NamedTuple):
    """Texts or recordings to be heard one after another, in a voice as its model takes it, None being the model's own."""

    parts: Sequence[Any]
    voice: Any
    seed: int


class _Turn(NamedTuple):
    part: Any
    voice: Any
    dice: Any
    """A generator of torch's, on the processor."""


_Sound = Callable[[], Any]
"""Samples of one turn, as a tensor of shape (1, frames); what it draws comes from torch's own generator."""


def speak(boxes: Chatterboxes, row: str, takes: Sequence[Take], **options: Any) -> list[np.ndarray]:
    """Samples of each take of texts, float32 of shape (frames,) at 24 kHz, by a speaking model.

    `options` are of its library's `generate`. Tokens are drawn for all takes together, and sounded one by one.
    """
    model = boxes.open(row)

    def together(turns: Sequence[_Turn]) -> list[_Sound]:
        from transforms import chatterbox_batches

        asked = [_asked(model, turn, options) for turn in turns]
        drawn = chatterbox_batches.draw(model.t3, asked, [turn.dice for turn in turns])
        return [partial(_generated, model, turn, options, tokens) for turn, tokens in zip(turns, drawn, strict=True)]

    return _taken(boxes, takes, together)


def convert(boxes: Chatterboxes, row: str, takes: Sequence[Take]) -> list[np.ndarray]:
    """As `speak`, of recordings by the converter: those with one voice are heard and decoded together, and sounded one by one."""
    model = boxes.open(row)

    def together(turns: Sequence[_Turn]) -> list[_Sound]:
        from transforms import chatterbox_batches

        voices = [turn.voice or model.ref_dict for turn in turns]
        sounds: dict[int, _Sound] = {}
        for voice in {id(voice): voice for voice in voices}.values():
            alike = [index for index, one in enumerate(voices) if one is voice]
            parts, dice = [turns[index].part for index in alike], [turns[index].dice for index in alike]
            spectra = chatterbox_batches.decode(model.s3gen, parts, voice, dice)
            for index, part, spectrum in zip(alike, parts, spectra, strict=True):
                sounds[index] = partial(chatterbox_batches.sounded, model.s3gen, spectrum, part.frames)
        return [sounds[index] for index in range(len(turns))]

    return _taken(boxes, takes, together)


def _taken(boxes: Chatterboxes, takes: Sequence[Take], together: Callable[[Sequence[_Turn]], Sequence[_Sound]]) -> list[np.ndarray]:
    """The first parts of all takes together, then the second parts, and so on."""
    import numpy as np
    import torch

    with boxes.sampling(0):
        dice = [torch.Generator().manual_seed(take.seed % 2**63) for take in takes]
        made: list[list[np.ndarray]] = [[] for _ in takes]
        for count, parts in enumerate(zip_longest(*(take.parts for take in takes))):
            going = [index for index, part in enumerate(parts) if part is not None]
            turns = [_Turn(parts[index], takes[index].voice, dice[index]) for index in going]
            for index, sound in zip(going, together(turns), strict=True):
                torch.manual_seed((takes[index].seed + count) % 2**63)  # of a device, which has dice of another kind
                torch.set_rng_state(dice[index].get_state())
                made[index].append(np.asarray(sound()[0].float().cpu(), np.float32))
                dice[index].set_state(torch.get_rng_state())
    return [made_of[0] if len(made_of) == 1 else np.concatenate(made_of) for made_of in made]


class _Answering:
    """A T3 as its library's `generate` meets it: it has drawn these tokens already; without any, `_Question` is raised."""

    def __init__(self, t3: Any, tokens: Any = None) -> None:
        self._t3, self._tokens = t3, tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._t3, name)

    def inference(self, **asked: Any) -> Any:
        if self._tokens is None:
            raise _Question(asked)
        return self._tokens

    inference_turbo = inference


class _Question(Exception):
    """What `generate` asks of a T3, after which it goes no further."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__()
        self.asked = asked


def _asked(model: Any, turn: _Turn, options: dict[str, Any]) -> dict[str, Any]:
    """What the library asks of a model's T3 for a text, which it takes apart in another way for each model."""
    try:
        _generated(model, turn, options, None)
    except _Question as question:
        return question.asked
    raise RuntimeError("the library asked its T3 for nothing")


def _generated(model: Any, turn: _Turn, options: dict[str, Any], tokens: Any) -> Any:
    with lent(model, "conds", turn.voice), lent(model, "t3", _Answering(model.t3, tokens)):
        return model.generate(turn.part, **options)
