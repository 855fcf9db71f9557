"""Every failure code, what kind it is, and the one exception that carries it.

A code is looked up here and nowhere else: exit code, HTTP status and retry derive from its kind. `item` codes blame the
item and count as done; `transient` codes are tried again by the next run; `system` codes stop the run, which can be
resumed; `usage` codes stop it before anything ran.
"""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Iterable
from typing import Literal

Kind = Literal["item", "transient", "system", "usage"]

CODES: dict[str, tuple[Kind, int, str]] = {
    # code: (kind, HTTP status, what it means)
    "bad_row": ("item", 400, "the row is not valid, or lacks a needed column"),
    "bad_message": ("item", 400, "the message is not a claim of a known version, or lacks an input"),
    "duplicate_id": ("item", 400, "another row has the same id and different content"),
    "bad_option": ("item", 400, "an option's name or value is not valid"),
    "unknown_voice": ("item", 404, "no voice of that name"),
    "unsupported_language": ("item", 400, "the engine does not speak or hear that language"),
    "empty_text": ("item", 400, "there are no words in the text"),
    "text_too_long": ("item", 400, "the text is longer than max_chars, or than what the model can take"),
    "audio_too_long": ("item", 400, "the audio is longer than max_audio_h"),
    "audio_too_large": ("item", 413, "the file is larger than max_input_bytes"),
    "audio_truncated": ("item", 400, "the audio file ends before its own header says"),
    "audio_empty": ("item", 400, "the audio holds no samples, or the file no bytes"),
    "bad_audio": ("item", 400, "the file cannot be decoded as audio"),
    "input_not_found": ("item", 404, "the URI names nothing"),
    "input_forbidden": ("item", 403, "the URI may not be read"),
    "engine_error": ("item", 500, "the engine failed on this item alone"),
    "bad_reference": ("item", 400, "the recording cannot tell whose voice is meant"),
    "endpoint_nonsense": ("item", 502, "the endpoint's answer cannot be used"),
    "chunk_refused": ("item", 409, "the chunk of a live session came again, too late, or after the end"),
    "chunk_missing": ("item", 409, "a chunk of a live session did not come"),
    "engine_crashed": ("item", 500, "the item killed its process three times"),
    "input_changed": ("transient", 503, "the input is not the version that was planned"),
    "input_unavailable": ("transient", 503, "the input's storage did not answer"),
    "endpoint_unavailable": ("transient", 503, "the endpoint that does the work does not answer in time"),
    "out_of_memory": ("transient", 503, "the device ran out of memory on this item alone"),
    "storage_full": ("system", 503, "no space is left where outputs are written"),
    "storage_forbidden": ("system", 503, "outputs may not be written there"),
    "storage_unavailable": ("system", 503, "the storage of outputs does not answer"),
    "weights_mismatch": ("system", 503, "the bytes of the weights are not the pinned ones"),
    "model_missing": ("system", 503, "the weights are not on this machine"),
    "engine_unloadable": ("system", 503, "the engine could not be loaded"),
    "work_mismatch": ("system", 503, "this worker has another engine version or weights than the plan"),
    "worker_fenced": ("system", 503, "another worker has the same name"),
    "broker_unavailable": ("system", 503, "Kafka does not answer, or refuses"),
    "cluster_unavailable": ("system", 503, "the cluster does not answer, or begins no work"),
    "cluster_failed": ("system", 503, "the cluster ended the job with an error"),
    "version_mismatch": ("system", 503, "driver, workers and job server have versions that do not go together"),
    "lease_lost": ("system", 503, "another driver took this OUT over"),
    "incomplete": ("system", 503, "rows without an outcome"),
    "internal": ("system", 500, "a fault of this program; the log says where"),
    "model_unavailable": ("usage", 404, "no such engine or model here"),
    "bad_usage": ("usage", 400, "the command or its configuration is wrong"),
    "lease_held": ("usage", 409, "another driver holds this OUT"),
}


class WavemillError(Exception):
    """A failure with a code of `CODES`; `field` names the option or column at fault."""

    def __init__(self, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field = code, detail, field

    def __reduce__(self) -> tuple[type[WavemillError], tuple[str, str, str | None]]:
        return type(self), (self.code, self.detail, self.field)

    @property
    def kind(self) -> Kind:
        return kind(self.code)


def kind(code: str) -> Kind:
    return CODES[code][0]


def exit_code(error: WavemillError) -> int:
    """The process's exit code when this error ends it: 1 item, 2 usage, 3 system or transient."""
    return {"item": 1, "usage": 2, "system": 3, "transient": 3}[error.kind]


def is_full(error: BaseException) -> bool:
    """Whether this is a disk, or a quota of one, without space."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, or torch for CUDA, says by its type that memory ran out. torch elsewhere and other libraries have no type for that."""
    torch = sys.modules.get("torch")
    return isinstance(error, (MemoryError, getattr(torch, "OutOfMemoryError", MemoryError)))


def temporary_full() -> WavemillError:
    """What to raise where a temporary file finds no space."""
    import tempfile

    return WavemillError(
        "storage_full", f"no space left in {tempfile.gettempdir()}; free some, or set TMPDIR, then run the same command again"
    )


def near(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean a, b?` for a message, or nothing when no known name is near."""
    close = difflib.get_close_matches(wrong, list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(close)}?" if close else ""
