"""A voice fitted to a reference: steps down the gradient of a style, through Kokoro and the speaker encoder.

The style is that of a mix of stock voices plus one offset for all lengths, in units of how far stock voices lie apart. The
measure that is raised is the one that is reported, so part of what it gains is not heard: other measures (cepstra, pitch)
move the same way, and less.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transforms import kokoro_model, models, phonemes, speakers, voices
from transforms.engine import Place
from transforms.errors import WavemillError
from transforms.torch_file import read_legacy

VERSION = 1
PHRASES = (
    "The quick brown fox jumps over the dog.",
    "Please send the contract to our office.",
    "Children sit on the grass in the park.",
)
"""What the voice says while it is fitted, one a step: short, because a step takes as long as they last."""
HELD_OUT = "A narrow bridge of stone leads over the water to the old mill."
"""What the similarity is measured on."""
START, RATE, HOLD, CLIP = 0.05, 0.06, 0.02, 1.0
"""Spread of the offset's start, Adam's rate, weight of the offset's mean square in the loss, longest gradient."""


class Fit(NamedTuple):
    """A pack, float32 of shape (510, 1, 256), and its cosine to the reference on a sentence that it was not fitted with."""

    pack: np.ndarray
    similarity: float


def hold(place: Place) -> Any:
    """Kokoro as `fit` needs it: as long as somebody holds it, fits at that place do not load another. Raises as `fit`."""
    from transforms.engines.torch_place import open_torch

    return kokoro_model.hold(open_torch(place, "kokoro.model")[1])


def fit(wanted: np.ndarray, mix: voices.Mix, place: Place, steps: int = 24, seed: int = 0) -> Fit:
    """A pack that sounds nearer to the speaker of the embedding `wanted`, float32 of shape (256,), than `mix` does.

    `mix` is the nearest one that is known, and the pack serves every engine of Kokoro. One of `steps` takes two to three
    seconds of a CPU, and some 4 GB; 24 are near the best. The same seed gives the same pack at the same place; another seed starts from
    another point near the mix.

    Raises `model_missing` for weights that are not here, `engine_unloadable` without the extra `torch`, and `out_of_memory`.
    """
    from transforms.engines.torch_place import open_torch

    torch, place = open_torch(place, "kokoro.model")
    threads = torch.get_num_threads()
    torch.set_num_threads(place.threads)
    try:
        with torch.backends.cudnn.flags(enabled=False):  # its LSTM has gradients in training only
            return _descend(torch, wanted, mix, place, steps, seed)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise WavemillError("out_of_memory", f"fitting a voice on {place.device}: {error}") from error
    finally:
        torch.set_num_threads(threads)


def _descend(torch: Any, wanted: np.ndarray, mix: voices.Mix, place: Place, steps: int, seed: int) -> Fit:
    encoder = TorchEncoder(place)
    model = kokoro_model.hold(place)
    pack = voices.read_pack(mix, place.models_dir)
    spread = np.stack([voices.read_pack(((id, 1.0),), place.models_dir) for id in voices.stock("kokoro")]).std(axis=0)
    target = torch.from_numpy(np.array(wanted, np.float32)).to(place.device)
    *phrases, held_out = _prepared(torch, pack, spread, place)
    drawn = torch.randn(pack.shape[-1], generator=torch.Generator().manual_seed(seed))
    offset = (START * drawn).to(place.device).requires_grad_()
    descent = torch.optim.Adam([offset], lr=RATE)
    for step in range(steps):
        ids, style, scale = phrases[step % len(phrases)]
        ((said, _),) = kokoro_model.speak(model, [ids], style + scale * offset, 1.0)
        loss = HOLD * offset.square().mean() - encoder.embed_24k(said) @ target
        descent.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([offset], CLIP)
        descent.step()
    with torch.no_grad():
        ids, style, scale = held_out
        ((said, _),) = kokoro_model.speak(model, [ids], style + scale * offset, 1.0)
        similarity = float(encoder.embed_24k(said) @ target)
    return Fit(np.asarray(pack + spread * offset.detach().cpu().numpy(), np.float32), similarity)


def _prepared(torch: Any, pack: np.ndarray, spread: np.ndarray, place: Place) -> list[list[Any]]:
    """Of every phrase, the one held out last: its tokens, and the style and the spread for their number."""
    prepared = []
    for phrase in (*PHRASES, HELD_OUT):
        ids = [phonemes.ALPHABET[symbol] for symbol in phonemes.phonemes(phrase, "a")]
        given = (torch.tensor([0, *ids, 0]), torch.from_numpy(pack[len(ids) - 1]), torch.from_numpy(spread[len(ids) - 1]))
        prepared.append([tensor.to(place.device) for tensor in given])
    return prepared


class TorchEncoder:
    """The encoder of `transforms.speakers` with a gradient. Raises `model_missing`."""

    def __init__(self, place: Place) -> None:
        import librosa
        import torch

        self._torch = torch
        row = models.known(speakers.MODEL)
        state = read_legacy(models.folder(speakers.MODEL, place.models_dir) / row.files[0].name, "model_state")
        tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()}
        lstm = torch.nn.LSTM(speakers.MELS, speakers.SIZE, 3, batch_first=True)
        lstm.load_state_dict({name.removeprefix("lstm."): tensor for name, tensor in tensors.items() if name.startswith("lstm.")})
        self._lstm = lstm.requires_grad_(False).to(place.device)
        self._weight, self._bias = tensors["linear.weight"].to(place.device), tensors["linear.bias"].to(place.device)
        bands = librosa.filters.mel(sr=speakers.RATE_HZ, n_fft=speakers.FRAME, n_mels=speakers.MELS)
        self._bands = torch.from_numpy(bands).to(place.device)
        self._window = torch.hann_window(speakers.FRAME, device=place.device)

    def embed_24k(self, samples: Any) -> Any:
        """`embed` of samples at 24 kHz, whose spectrum is cut at 8 kHz."""
        fft = self._torch.fft
        samples = samples[: len(samples) // 3 * 3]
        length = len(samples) // 3 * 2
        return self.embed(fft.irfft(fft.rfft(samples)[: length // 2 + 1], n=length) * (2 / 3))

    def embed(self, samples: Any) -> Any:
        """The voice in mono samples at 16 kHz: a tensor of shape (256,), of unit length."""
        torch = self._torch
        level = samples.detach().square().mean().sqrt().clamp(min=1e-6)
        samples = samples * (10 ** (speakers.LOUDNESS_DBFS / 20) / level).clamp(min=1.0)
        spectrum = torch.stft(
            samples, speakers.FRAME, speakers.HOP, window=self._window, center=True, pad_mode="constant", return_complex=True
        )
        frames = (self._bands @ (spectrum.real.square() + spectrum.imag.square())).T
        if len(frames) < speakers.WINDOW:
            frames = torch.nn.functional.pad(frames, (0, 0, 0, speakers.WINDOW - len(frames)))
        windows = frames.unfold(0, speakers.WINDOW, speakers.WINDOW // 2).transpose(1, 2)
        _, (last, _) = self._lstm(windows)
        found = torch.nn.functional.normalize(torch.relu(last[-1] @ self._weight.T + self._bias), dim=1)
        return torch.nn.functional.normalize(found.mean(dim=0), dim=0)
