"""Which engine a caller means: by the name of a model as the hosted API gives it, or by a language where none is named."""

from __future__ import annotations

from transforms.engine import engine_class, engines
from transforms.engines.sherpa_models import KINDS
from transforms.errors import WavemillError, near
from transforms.models import MODELS
from transforms.operations import operation as row_of

ALIASES = {"transcribe": {"whisper": "faster-whisper"}}
"""Operation -> the API's name of a model -> our engine, where the two names differ."""


def choose_model(operation: str, name: str | None = None, language: str | None = None) -> str:
    """The name of the engine for a model's name, else for a language, else the operation's default.

    Raises `model_unavailable` with what there is, `unsupported_language` when no engine has the language.
    """
    row = row_of(operation)
    known = {row.default_engine: "", **engines(row.name)}  # the default first
    if name:
        return _named(row.name, name, list(known))
    if not language or language == "auto":
        return row.default_engine
    spoken = {engine: engine_class(row.name, engine).languages for engine in known}
    for engine, languages in spoken.items():
        if _base(language) in map(_base, languages):
            return engine
    if not any(spoken.values()):
        return row.default_engine  # nothing here depends on a language
    every = sorted({_base(code) for languages in spoken.values() for code in languages})
    raise WavemillError("unsupported_language", f"no engine for {row.name} has {language!r}; there are {', '.join(every)}", "language")


def _named(operation: str, name: str, known: list[str]) -> str:
    wanted = name.lower()
    if wanted in known:
        return wanted
    found = ALIASES.get(operation, {}).get(wanted)
    if found:
        return found
    for id in (wanted, f"whisper-{wanted}", f"demucs-{wanted}"):
        if id in MODELS and MODELS[id].engine in known:
            return MODELS[id].engine
    detail = f"no model {name!r} for {operation}; there are {', '.join(known)}"
    if wanted in KINDS and KINDS[wanted].operation == operation:
        detail += f"; with the folder of such a model the engine sherpa runs it: --kind {wanted} --model-dir FOLDER"
    else:
        detail += near(wanted, known)
    raise WavemillError("model_unavailable", detail, "model")


def _base(code: str) -> str:
    return code.lower().replace("_", "-").partition("-")[0]
