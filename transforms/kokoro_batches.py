"""Kokoro for pieces of different lengths at once, each as it is alone.

Its modules take one piece: they normalize along time, and their convolutions look over its end. Here they are told where each
piece of a batch ends, so that what it is filled up with is silent to all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence


class Ends(threading.local):
    """Where each piece of this thread's batch ends; nowhere while nothing is filled up."""

    _frames: Tensor | None = None
    _longest = 0

    @contextmanager
    def told(self, frames: Tensor) -> Iterator[None]:
        """`frames` of shape (pieces,): how long each is, in frames of its durations."""
        self._longest = int(frames.max())
        self._frames = None if int(frames.min()) == self._longest else frames
        try:
            yield
        finally:
            self._frames = None

    def along(self, x: Tensor) -> Tensor | None:
        """Those of a tensor (pieces, ..., time) of any rate: a layer has so many steps a frame, and the last ones one more."""
        if self._frames is None:
            return None
        return x.shape[-1] // self._longest * self._frames + x.shape[-1] % self._longest

    def silenced(self, x: Tensor) -> Tensor:
        """(pieces, channels, time) with zeros after each end."""
        ends = self.along(x)
        return x if ends is None else x.masked_fill(_after(ends, x.shape[-1])[:, None], 0.0)


class _Norm(nn.Module):  # type: ignore[misc]
    """The mean and variance of a piece are those up to its end, after which all is zero, as each convolution has it at an edge."""

    def __init__(self, alone: nn.InstanceNorm1d, ends: Ends) -> None:
        super().__init__()
        self.alone, self.ends = alone, ends

    def forward(self, x: Tensor) -> Tensor:
        ends = self.ends.along(x)
        if ends is None:
            return self.alone(x)
        count = ends[:, None, None]
        centred = self.ends.silenced(x - self.ends.silenced(x).sum(-1, keepdim=True) / count)
        return centred * (centred.square().sum(-1, keepdim=True) / count + self.alone.eps).rsqrt()


class _Spectrum(nn.Module):  # type: ignore[misc]
    """A piece's edge is mirrored, and the windows there overlap with fewer: each piece has its own transform."""

    def __init__(self, alone: Any, ends: Ends) -> None:
        super().__init__()
        self.alone, self.ends = alone, ends

    def transform(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        magnitudes, phases = zip(*map(self.alone.transform, self._pieces(samples)), strict=True)
        return _stacked(magnitudes), _stacked(phases)

    def inverse(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        return _stacked([self.alone.inverse(*piece) for piece in zip(self._pieces(magnitude), self._pieces(phase), strict=True)])

    def _pieces(self, x: Tensor) -> Sequence[Tensor]:
        ends = self.ends.along(x)
        return [x] if ends is None else [piece[None, ..., :end] for piece, end in zip(x, ends.tolist(), strict=True)]


def prepared(model: Any) -> Any:
    """The model, a KModel with its weights, made ready for `speak`."""
    model.ends = ends = Ends()
    for part in (model.predictor.F0, model.predictor.N, model.decoder):
        for module in list(part.modules()):
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and module.kernel_size != (1,):
                module.register_forward_pre_hook(lambda _, given: (ends.silenced(given[0]),))
            if isinstance(getattr(module, "norm", None), nn.InstanceNorm1d):
                module.norm = _Norm(module.norm, ends)
    model.decoder.generator.stft = _Spectrum(model.decoder.generator.stft, ends)
    return model


def speak(model: Any, ids: Sequence[Tensor], styles: Tensor, speed: float) -> tuple[list[Tensor], list[Tensor]]:
    """As KModel's forward pass for each piece: of tokens (n,) in a style, a row of (pieces, 256), samples and each token's frames."""
    counts = torch.tensor([len(one) for one in ids])
    tokens, lengths = pad_sequence(list(ids), batch_first=True), counts.to(model.device)
    after, (voice, manner) = _after(lengths, int(counts.max())), styles.chunk(2, dim=1)
    known = model.bert_encoder(model.bert(tokens, attention_mask=(~after).int())).transpose(1, 2)
    known = model.predictor.text_encoder(known, manner, lengths, after)
    lasting = model.predictor.duration_proj(_along(model.predictor.lstm, known, counts)).sigmoid().sum(-1) / speed
    durations = lasting.round().clamp(min=1).long().masked_fill(after, 0)
    frames = durations.sum(1)
    alignment = pad_sequence([_aligned(one).to(known) for one in durations], batch_first=True).transpose(1, 2)
    with model.ends.told(frames):
        heard = _along(model.predictor.shared, (known.transpose(1, 2) @ alignment).transpose(1, 2), frames.cpu()).transpose(1, 2)
        pitch = _curve(model.predictor.F0, model.predictor.F0_proj, heard, manner)
        energy = _curve(model.predictor.N, model.predictor.N_proj, heard, manner)
        spoken = model.text_encoder(tokens, lengths, after) @ alignment
        made = model.decoder(spoken, model.ends.silenced(pitch[:, None])[:, 0], energy, voice)[:, 0]
    steps = made.shape[1] // int(frames.max())
    samples = [one[: steps * count] for one, count in zip(made, frames.tolist(), strict=True)]
    return samples, [one[:count] for one, count in zip(durations, counts.tolist(), strict=True)]


def _after(ends: Tensor, steps: int) -> Tensor:
    """(pieces, steps), true where a piece has ended."""
    return torch.arange(steps, device=ends.device) >= ends[:, None]


def _aligned(durations: Tensor) -> Tensor:
    """(frames, tokens), one at the token of each frame."""
    tokens = torch.arange(len(durations), device=durations.device)
    return one_hot(tokens.repeat_interleave(durations), len(durations))


def _along(lstm: Any, x: Tensor, counts: Tensor) -> Tensor:
    """What an LSTM of both directions makes of (pieces, steps, channels), of each up to its end."""
    if int(counts.min()) == x.shape[1]:
        return lstm(x)[0]
    packed, _ = lstm(pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False))
    return pad_packed_sequence(packed, batch_first=True)[0]


def _curve(blocks: Any, last: Any, x: Tensor, style: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, style)
    return last(x)[:, 0]


def _stacked(pieces: Sequence[Tensor]) -> Tensor:
    """Of shape (1, ..., time) each, with zeros after each end."""
    longest = max(piece.shape[-1] for piece in pieces)
    return torch.cat([pad(piece, (0, longest - piece.shape[-1])) for piece in pieces])
