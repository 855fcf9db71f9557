"""Kokoro as a torch module: the package `kokoro`'s model with the weights of the 8-bit graph, and nothing random in it.

That model adds noise to its source and starts each harmonic at a random phase; the graph does neither. Given
the same weights the two agree but for float rounding, and for the phase of silence, where the sign of pi is a matter of it.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transforms import kokoro_weights, models, phonemes
from transforms.engine import Place
from transforms.errors import WavemillError

MODEL = "kokoro-int8"
GAIN = 1.5
"""The graph's last step does not divide by the overlap of its windows, so it is that much louder."""
DURATION_FRAMES = 600
"""Frames of sound for each of the durations that the model counts in."""
CONFIG: dict[str, Any] = {
    "dim_in": 64,
    "dropout": 0.2,
    "hidden_dim": 512,
    "max_dur": 50,
    "n_layer": 3,
    "n_mels": 80,
    "n_token": 178,
    "style_dim": 128,
    "text_encoder_kernel_size": 5,
    "vocab": phonemes.ALPHABET,
    "istftnet": {
        "gen_istft_hop_size": 5,
        "gen_istft_n_fft": 20,
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "resblock_kernel_sizes": [3, 7, 11],
        "upsample_initial_channel": 512,
        "upsample_kernel_sizes": [20, 12],
        "upsample_rates": [10, 6],
    },
    "plbert": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
    },
}
"""config.json of hexgrad/Kokoro-82M, as far as the model reads it."""

UNTRAINED = (".norm.weight", ".norm.bias", "bert.pooler.weight", "bert.pooler.bias")
"""What the graph does not have: an affine part that is the identity, and a layer whose output nobody reads."""


def open_model(models_dir: Path, device: str = "cpu") -> Any:
    """The model, to be called by `speak`. Raises `model_missing` and `weights_mismatch`."""
    import torch
    from kokoro.model import KModel
    from torch.nn.utils import remove_weight_norm

    from transforms import kokoro_batches

    path = models.folder(MODEL, models_dir) / models.known(MODEL).files[0].name
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old ways to normalize weights, and of dropout where there is one layer
        model = KModel(repo_id="hexgrad/Kokoro-82M", config=CONFIG, model=nothing).eval()  # with a file it asks no server
        for module in model.modules():
            if hasattr(module, "weight_v"):
                remove_weight_norm(module)
    weights = {name: torch.from_numpy(tensor) for name, tensor in kokoro_weights.read(path).items()}
    try:
        lacking, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # of another shape
        raise WavemillError("weights_mismatch", f"{MODEL}: {error}", "model") from error
    lacking = [name for name in lacking if not name.endswith(UNTRAINED)]
    if lacking or unknown:
        raise WavemillError("weights_mismatch", f"{MODEL}: lacks {lacking[:3]}, has {unknown[:3]}", "model")
    source = model.decoder.generator.m_source
    source.l_sin_gen = _harmonics(source.l_sin_gen)
    return kokoro_batches.prepared(model.requires_grad_(False)).to(device)


def hold(place: Place) -> Any:
    """The model at a place whose device is known, one copy for all who hold it at once. Raises as `open_model`."""
    from transforms.engines.torch_place import shared

    return shared(MODEL, place, lambda: open_model(place.models_dir, place.device))


def speak(model: Any, ids: Sequence[Any], styles: Any, speed: float) -> list[tuple[Any, Any]]:
    """Of each piece, tokens of shape (n,), ends included, in a style, a row of (pieces, 256): samples at 24 kHz, and each token's frames.

    All are tensors; the gradient of a style is kept where it is asked for. Together with others a piece is what it is alone, but for
    float rounding.
    """
    from transforms import kokoro_batches

    made = kokoro_batches.speak(model, ids, styles, speed)
    return [(GAIN * samples, DURATION_FRAMES * durations) for samples, durations in zip(*made, strict=True)]


def _harmonics(random: Any) -> Any:
    """A source of sines where `random` has one of sines, noise and random phases."""
    import torch
    from torch.nn.functional import interpolate

    numbers = torch.arange(1.0, random.dim + 1)

    class Harmonics(torch.nn.Module):  # type: ignore[misc]
        def forward(self, f0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
            turns = (f0 * numbers.to(f0.device) / random.sampling_rate % 1).transpose(1, 2)
            step = random.upsample_scale
            frames = interpolate(turns, scale_factor=1 / step, mode="linear").cumsum(2) * 2 * math.pi * step
            sines = torch.sin(interpolate(frames, scale_factor=float(step), mode="linear")).transpose(1, 2)
            voiced = (f0 > random.voiced_threshold).float()
            return sines * random.sine_amp * voiced, voiced, None

    return Harmonics()
