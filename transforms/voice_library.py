"""Voices that recordings told: those found for one (`emb_...`), and those that somebody saved under a name (`uv_...`).

The library is a folder of any storage, `WAVEMILL_VOICES`: a JSON file a voice and, named by its digest, the pack of a fitted one.
What is there is never changed, only removed, so what was read once is remembered, and of two who fit one voice the first one's stays.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.errors import WavemillError
from transforms.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

PACK_SHAPE = (510, 1, 256)
"""A pack of Kokoro: a style for each length in tokens."""
REMEMBERED = 1000
"""Records that a process keeps in memory."""
_ID = re.compile(r"(emb|uv)_[0-9a-f]{12,32}")


def is_saved(id: str) -> bool:
    """Whether an id has the form of one of the library's."""
    return _ID.fullmatch(id) is not None


def saved_in(text: str) -> str | None:
    """The first id of the library's that stands anywhere in a text, such as options in JSON."""
    found = _ID.search(text)
    return found and found[0]


class Consent(BaseModel):
    """Who agreed that the voice is used, in the words of whoever saved it, and when that was written down."""

    model_config = ConfigDict(frozen=True)

    by: str
    recorded_at: datetime


class Saved(BaseModel):
    """A voice of the library. `made_of` is what it is spoken with: a mix, which a fitted one began as; of a saved one a voice.

    `sha256` is that of a fitted voice's pack, empty where there is none, `similarity` the expected cosine to the reference.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=_ID.pattern + "$")
    made_of: str
    method: str
    similarity: float
    created_at: datetime
    name: str = ""
    language: str | None = None
    gender: Literal["female", "male", ""] = ""
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$")
    embedding: tuple[float, ...] = ()
    consent: Consent | None = None


class Library:
    """The voices in a folder. Every method raises the storage codes of `transforms.errors`."""

    def __init__(self, url: str, patience_s: float = 60.0) -> None:
        from transforms.store import Store

        self._store = Store(url, patience_s)
        self._known: dict[str, Saved] = {}

    def get(self, id: str) -> Saved | None:
        """A voice, or None where the library does not have it. Raises `unknown_voice` for a file that is not a voice's."""
        if id not in self._known and is_saved(id):
            data = self._store.read(f"{id}.json")
            if data is None:
                return None
            try:
                found = Saved.model_validate_json(data)
            except ValidationError as error:
                raise WavemillError("unknown_voice", f"{self._store.path(id)}.json does not hold a voice: {error}", "voice") from None
            if found.id != id:
                raise WavemillError("unknown_voice", f"{self._store.path(id)}.json holds the voice {found.id}", "voice")
            self._known[id] = found
            if len(self._known) > REMEMBERED:
                self._known.pop(next(iter(self._known)))
            return found
        return self._known.get(id)

    def find(self, id: str) -> Saved:
        """A voice. Raises `unknown_voice`."""
        found = self.get(id)
        if found is None:
            raise WavemillError("unknown_voice", f"no voice {id} in {self._store.url} (WAVEMILL_VOICES); see `wavemill voices`", "voice")
        return found

    def pack(self, id: str) -> np.ndarray:
        """The pack of a fitted voice, float32 of shape (510, 1, 256). Raises `unknown_voice`, also for one that is broken."""
        from hashlib import sha256

        import numpy as np

        name = _pack_of(self.find(id).sha256)
        data = self._store.read(name) or b""
        if _pack_of(sha256(data).hexdigest()) != name:
            self._known.pop(id, None)
            raise WavemillError("unknown_voice", f"{id} was removed, or {self._store.path(name)} is not its pack", "voice")
        return np.frombuffer(data, "<f4").reshape(PACK_SHAPE)

    def add_fitted(self, id: str, pack: np.ndarray, **facts: Any) -> Saved:
        """Keep a fitted voice; one that is there already stays."""
        from hashlib import sha256

        import numpy as np

        known = self.get(id)
        if known is not None:
            return known
        data = np.ascontiguousarray(pack, "<f4").tobytes()
        saved = Saved(id=id, sha256=sha256(data).hexdigest(), created_at=_now(), **facts)
        self._store.write(_pack_of(saved.sha256), data)
        return self._write(saved)

    def add_mix(self, id: str, mix: str, **facts: Any) -> Saved:
        """Keep a mix that was found for a recording; one that is there already stays."""
        return self.get(id) or self._write(Saved(id=id, made_of=mix, created_at=_now(), **facts))

    def save(self, consent: str, **facts: Any) -> Saved:
        """Keep a voice under a name. Raises `bad_usage` without consent."""
        if not consent.strip():
            raise WavemillError("bad_usage", "a voice is saved with its owner's consent: say who gave it", "consent")
        given = Consent(by=consent.strip(), recorded_at=_now())
        return self._write(Saved(id=f"uv_{secrets.token_hex(6)}", consent=given, created_at=_now(), **facts))

    def _write(self, saved: Saved) -> Saved:
        self._store.create(f"{saved.id}.json", saved.model_dump_json(exclude_defaults=True).encode())
        return self.find(saved.id)

    def ids(self) -> list[str]:
        """The id of every voice, in order, also of one whose record is broken."""
        names = (entry.url.removesuffix(".json") for entry in self._store.entries("") if entry.url.endswith(".json"))
        return sorted(filter(is_saved, names))

    def all(self) -> Iterator[Saved]:
        """Every voice that can be read, in the order of their ids."""
        for id in self.ids():
            with suppress(WavemillError):
                yield self.find(id)

    def remove(self, id: str) -> None:
        """Forget a voice, its pack and its consent, and what it alone was made of.

        Raises `unknown_voice`, and `bad_usage` for a fitted voice that a saved one is made of.
        """
        saved = self.find(id)
        others = [other for other in self.all() if other.id != id]
        users = [other.id for other in others if id in other.made_of]
        if users:
            raise WavemillError("bad_usage", f"{', '.join(users)} is made of {id}; remove that first", "voice")
        self._remove(saved)
        if is_saved(saved.made_of) and not any(saved.made_of in other.made_of for other in others):
            made_of = self.get(saved.made_of)
            if made_of:
                self._remove(made_of)

    def _remove(self, saved: Saved) -> None:
        previews = [entry.url for entry in self._store.entries("previews") if entry.url.startswith(f"previews/{saved.id}-")]
        self._store.remove([f"{saved.id}.json", *previews, *([_pack_of(saved.sha256)] if saved.sha256 else [])])
        self._known.pop(saved.id, None)

    def preview(self, id: str, key: str) -> bytes | None:
        """A voice's preview, where it has been spoken; `key` is the identity of what is spoken."""
        return self._store.read(f"previews/{id}-{key}.mp3")

    def keep_preview(self, id: str, key: str, data: bytes) -> None:
        self._store.write(f"previews/{id}-{key}.mp3", data)


def library() -> Library:
    """The library of this process's environment."""
    settings = Settings()
    return _library(settings.voices, settings.storage_patience_s)


@cache
def _library(url: str, patience_s: float) -> Library:
    return Library(url, patience_s)


def _pack_of(digest: str) -> str:
    return f"packs/{digest}.bin"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
