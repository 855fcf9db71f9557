"""Chatterbox by its light distribution: its three speaking models and its voice converter, opened from our own folders.

Resemble AI's own distribution marks what it makes with its watermark Perth; the light one leaves that out, so it is put on here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import files
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from transforms import models
from transforms.engine import Place
from transforms.engines.torch_place import open_torch
from transforms.errors import WavemillError
from transforms.records import Audio

if TYPE_CHECKING:
    import numpy as np

Name = Literal["tts", "turbo", "multilingual"]
RATE_HZ = 24000
TOKEN_FRAMES = 960
HEARD_S = 60.0
"""Seconds of a reference that are listened to; all but the speaker's embedding come from its first six to fifteen."""
REMEMBERED = 16
LOADED_BY = {
    "chatterbox": ("chatterbox.tts", "ChatterboxTTS"),
    "chatterbox-turbo": ("chatterbox.tts_turbo", "ChatterboxTurboTTS"),
    "chatterbox-multilingual": ("chatterbox.mtl_tts", "ChatterboxMultilingualTTS"),
    "chatterbox-vc": ("chatterbox.vc", "ChatterboxVC"),
}
"""Row of the weights table -> the class of the library that reads its folder."""
_LOUD = (
    "chatterbox.tts_turbo",
    "chatterbox.models.t3.t3",
    "chatterbox.models.s3gen.s3gen",
    "chatterbox.models.s3gen.flow_matching",
    "perth.perth_net.perth_net_implicit.model.perth_net",
)
_SAMPLING = threading.Lock()
"""What is drawn comes from torch's one generator, so one call draws at a time in this process."""


def row(name: Name) -> str:
    """The row of the weights table of a speaking model."""
    return "chatterbox" if name == "tts" else f"chatterbox-{name}"


class Chatterboxes:
    """The models at a place, each opened when it is first used. Voices are remembered by their samples."""

    def __init__(self, place: Place) -> None:
        """Raises `engine_unloadable`."""
        try:
            for module in map(_import, _LOUD):
                _hush(module)
        except ImportError as error:
            raise WavemillError(
                "engine_unloadable", f"{error}; install the extra `chatterbox`: pip install 'wavemill[chatterbox]'"
            ) from error
        self._torch, self._place = open_torch(place)
        self._lock, self._opened = threading.Lock(), dict[str, Any]()
        self._mark: Any = None
        self._voices: OrderedDict[tuple[str, str], Any] = OrderedDict()

    @property
    def device(self) -> str:
        """Where the models are."""
        return self._place.device

    def close(self) -> None:
        self._opened.clear()
        self._voices.clear()
        self._mark = None

    def open(self, row: str) -> Any:
        """The model of a row. Raises `model_missing` and `weights_mismatch`."""
        with self._lock:
            if row not in self._opened:
                folder = models.folder(row, self._place.models_dir)
                module, name = LOADED_BY[row]
                loaded = getattr(_import(module), name)
                with self._memory(f"to load {row}"), _unwarned():
                    try:
                        self._opened[row] = loaded.from_local(folder, self._place.device)
                    except self._torch.OutOfMemoryError:
                        raise
                    except Exception as error:  # a broken file shows in a dozen ways, by the library that reads it
                        raise WavemillError("weights_mismatch", f"{row}: {type(error).__name__}: {error}"[:500], "model") from error
            return self._opened[row]

    def heard(self, row: str, reference: Audio, make: Callable[[Any, io.BytesIO], Any]) -> Any:
        """What `make` finds of a reference's voice by the model of a row; found once, as long as it is remembered."""
        most = min(reference.frames, round(HEARD_S * RATE_HZ))
        samples = reference.samples[0, : most // TOKEN_FRAMES * TOKEN_FRAMES]  # of a broken token the library complains, by logging
        name = (row, hashlib.sha256(samples.tobytes()).hexdigest())
        found = self._voices.get(name)
        if found is None:
            model = self.open(row)
            with self._memory(f"to listen to {reference.duration_s:.0f} s of a reference"), self.sampling(0):
                found = self._voices[name] = make(model, as_wav(Audio(samples[None], RATE_HZ)))
            while len(self._voices) > REMEMBERED:
                self._voices.popitem(last=False)
        return found

    @contextmanager
    def sampling(self, seed: int) -> Iterator[None]:
        """The model to oneself, what it draws decided by the seed."""
        with _SAMPLING, self._torch.inference_mode():
            self._torch.manual_seed(seed % 2**63)
            yield

    @contextmanager
    def _memory(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except (self._torch.OutOfMemoryError, MemoryError) as error:
            raise WavemillError("out_of_memory", f"chatterbox: {purpose} on {self._place.device}") from error

    def marked(self, samples: np.ndarray) -> np.ndarray:
        """Samples, float32 of shape (frames,) at 24 kHz, with the inaudible watermark; as many."""
        import numpy as np

        with self._lock:
            self._mark = self._mark or _watermarker()
            made = np.asarray(self._mark.apply_watermark(samples, sample_rate=RATE_HZ), np.float32)
        return np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size]


@contextmanager
def lent(model: Any, attribute: str, other: Any) -> Iterator[None]:
    """The model with another attribute, a voice mostly, where one is given, and with its own again afterwards."""
    own = getattr(model, attribute)
    setattr(model, attribute, other or own)
    try:
        yield
    finally:
        setattr(model, attribute, own)


def packed(conditionals: Any) -> str:
    """The library's `Conditionals`, as its own `save` writes them, in base 64."""
    file = io.BytesIO()
    conditionals.to("cpu").save(file)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(data: bytes, name: Name, device: str) -> Any:
    """The `Conditionals` in a file of embed, of which nothing but tensors is read.

    Raises `bad_option` for another file, and for a voice of turbo in another model or the other way round.
    """
    from chatterbox.tts import Conditionals

    try:
        told = json.loads(data)
        made, file = told["model"], io.BytesIO(base64.b64decode(told["conditionals"]))
        found = Conditionals.load(file).to(device)
    except Exception as error:  # a foreign file shows in a dozen ways
        detail = f"voice: no file that `embed -e chatterbox` wrote: {type(error).__name__}: {error}"
        raise WavemillError("bad_option", detail[:300], "voice") from error
    if (made == "turbo") != (name == "turbo"):
        raise WavemillError("bad_option", f"voice: it was made for the model {made}, and {name} has other voices", "voice")
    return found


def as_wav(audio: Audio) -> io.BytesIO:
    """Mono audio as the file that the library wants to read."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, audio.samples[0], audio.rate_hz, format="WAV", subtype="FLOAT")
    file.seek(0)
    return file


def _watermarker() -> Any:
    return _import("perth.perth_net.perth_net_implicit.perth_watermarker").PerthImplicitWatermarker()


def _hush(module: Any) -> None:
    """The libraries print and draw progress bars, on streams that are our caller's."""
    module.print = lambda *_, **__: None
    module.tqdm = lambda steps, **_: steps


def _import(name: str) -> Any:
    """A module of the libraries. Perth asks `pkg_resources`, which setuptools no longer has, where its own files are."""
    with _unwarned():
        if name.partition(".")[0] != "perth" or "pkg_resources" in sys.modules:
            return import_module(name)
        stand_in: Any = ModuleType("pkg_resources")
        stand_in.resource_filename = lambda package, member: str(files(package) / member)
        sys.modules["pkg_resources"] = stand_in
        try:
            return import_module(name)
        finally:
            del sys.modules["pkg_resources"]


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without the warnings that the libraries have for their own authors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
