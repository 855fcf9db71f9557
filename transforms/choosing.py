"""Which engine a caller means: by its name, by the name of a model as the hosted API gives it, or by a language where none is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from transforms.engine import Engine, engine_class, engines
from transforms.engines.sherpa_models import KINDS
from transforms.errors import WavemillError, near
from transforms.models import MODELS
from transforms.operations import operation as row_of
from transforms.options import Options

ALIASES = {"transcribe": {"whisper": "faster-whisper"}}
"""Operation -> the API's name of a model -> our engine, where the two names differ."""
STEMS = {"demucs-htdemucs_6s": {"stems": 6}}
"""Row of the weights table -> the options that mean it, of engines that have no option `model`."""


class Choice(NamedTuple):
    """An engine, the options with what the model's name says of them, and for people why that engine, where none has that name."""

    engine: str
    options: dict[str, Any]
    why: str = ""


def settle(operation: str, name: str, options: Mapping[str, Any], held: Callable[[], str] = lambda: "") -> Choice:
    """The engine of a command, by the `name` and the `options` that it was given. `held` is the engine that its OUT was begun with.

    Where no engine is named the default one is taken if it has the language. Raises as `choose_model`, and `bad_usage` for
    an option that says another model than the name.
    """
    row = row_of(operation)
    if name:
        engine, id = _named(row.name, name)
        meant = (_meaning(engine_class(row.name, engine), id) or {}) if id else {}
        for option, value in meant.items():
            if str(options.get(option, value)) != str(value):
                raise WavemillError("bad_usage", f"-e {name} is {option} {value}, not {options[option]}", option)
        said = "".join(f", {option} {value}" for option, value in meant.items())
        why = "" if engine == name else f"{name} is run by the engine {engine}{said}"
        return Choice(engine, {**options, **meant}, why)
    language = str(options.get("language") or "")
    engine = choose_model(row.name, None, language)
    if engine == row.default_engine:
        return Choice(engine, dict(options))
    begun = held()
    engine = begun if begun in speaking(row.name, language) else engine
    return Choice(engine, dict(options), f"{row.default_engine} has no {language}; the engine {engine} has it")


def choose_model(operation: str, name: str | None = None, language: str | None = None) -> str:
    """The name of the engine for a model's name, else for a language, else the operation's default.

    Raises `model_unavailable` with what there is, also when no engine has the language.
    """
    row = row_of(operation)
    if name:
        return _named(row.name, name)[0]
    default = engine_class(row.name, row.default_engine).languages
    if not language or language == "auto" or not default or _has(default, language):
        return row.default_engine
    found = speaking(row.name, language)
    if found:
        return found[0]
    every = sorted({_base(code) for engine in engines(row.name) for code in engine_class(row.name, engine).languages})
    raise WavemillError("model_unavailable", f"no engine for {row.name} has {language!r}; there are {', '.join(every)}", "language")


def speaking(operation: str, language: str) -> list[str]:
    """The engines that have a language, of those that say which they have."""
    return [name for name in engines(operation) if _has(engine_class(operation, name).languages, language)]


def elsewhere(engine: Engine, options: Options) -> str:
    """`; piper, chatterbox have it` for a message that a language is not the engine's, or nothing."""
    language = getattr(options, "language", None)
    others = [name for name in speaking(engine.operation, language) if name != engine.name] if language else []
    return f"; {', '.join(others)} {'have' if len(others) > 1 else 'has'} it" if others else ""


def _named(operation: str, name: str) -> tuple[str, str]:
    """The engine of that name, or that of a model of that name and the model's row of the weights table."""
    known, wanted = engines(operation), name.lower()
    if name in known:
        return name, ""
    found = wanted if wanted in known else ALIASES.get(operation, {}).get(wanted)
    if found:
        return found, ""
    for id in (wanted, f"whisper-{wanted}", f"demucs-{wanted}"):
        engine = MODELS[id].engine if id in MODELS else ""
        if engine in known and _meaning(engine_class(operation, engine), id) is not None:
            return engine, id
    names = list(dict.fromkeys([row_of(operation).default_engine, *known]))
    detail = f"no model {name!r} for {operation}; there are {', '.join(names)}"
    if wanted in KINDS and KINDS[wanted].operation == operation:
        detail += f"; with the folder of such a model the engine sherpa runs it: --kind {wanted} --model-dir FOLDER"
    else:
        detail += near(wanted, names)
    raise WavemillError("model_unavailable", detail, "model")


def _meaning(engine: type[Engine], id: str) -> dict[str, Any] | None:
    """The options with which an engine works by a row of the weights table; None where it never does."""
    for options in ({"model": id.partition("-")[2]}, STEMS.get(id, {})):
        try:
            if id in engine().models(engine.Options.parse(options)):
                return options
        except WavemillError:
            continue
    return None


def _has(languages: tuple[str, ...], language: str) -> bool:
    return _base(language) in map(_base, languages)


def _base(code: str) -> str:
    return code.lower().replace("_", "-").partition("-")[0]
