"""Engines made of engines: each stage is an operation of the table, with an engine and options of its own.

A chain's options name its stages as mappings, `tts: {engine: piper, speed: 1.1}`, on the command line `-O tts.engine=piper`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator

from transforms import identity, steps
from transforms.engine import Engine, Place, engine_class
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Failure, Input, Item, Result, Work


def _mapping(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            raise ValueError("not a mapping; write its parts one by one, as tts.engine=piper") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not a mapping; write its parts one by one, as tts.engine=piper")
    return value


StageOptions = Annotated[dict[str, Any], BeforeValidator(_mapping)]
"""`engine`, and options of that engine that differ from what the chain sets."""


def stage_of(operation_name: str, default: str = "") -> AfterValidator:
    """Makes the values of a stage's options those that its engine reads of them, so that `1.1` is one option however it was written."""

    def settle(given: dict[str, Any]) -> dict[str, Any]:
        try:
            read = stage(operation_name, {"engine": default, **given}).options.model_dump(mode="json")
        except WavemillError:
            return given  # which `check` refuses, and says why
        return {name: read.get(name, value) for name, value in given.items()}

    return AfterValidator(settle)


class Staged(BaseOptions):
    """Base of a chain's options: `a.b=c` sets b of the stage a. Of two that set the same the later one stands."""

    @classmethod
    def takes(cls, name: str) -> bool:
        stage, dot, inner = name.partition(".")
        return super().takes(stage) and (not dot or (bool(inner) and cls.model_fields[stage].annotation == dict[str, Any]))

    @classmethod
    def one_by_one(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a mapping says of a stage as dotted names. One that is none stays, and is refused later."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            try:
                parts = _mapping(value) if cls.takes(f"{name}.engine") else {}
            except ValueError:
                parts = {}
            found |= {f"{name}.{inner}": part for inner, part in parts.items()} or {name: value}
        return found

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        folded: dict[str, Any] = {}
        for name, value in values.items():
            stage, dot, inner = name.partition(".")
            try:
                if dot or isinstance(folded.get(name), dict):
                    folded[stage] = {**_mapping(folded.get(stage)), **({inner: value} if dot else _mapping(value))}
                else:
                    folded[name] = value
            except ValueError:  # of the two the one that is no mapping stays, and the option refuses it by its name
                folded[stage] = folded[stage] if dot else value
        return folded


OPTIONS = {"transcribe": "stt", "translate_text": "mt", "complete": "llm", "synthesize": "tts", "clone": "tts"}
"""Operation of a stage -> the option that names its engine and options."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One operation of a chain. `engine` is not loaded; it answers for identity, weights and checks. `given` are the options it was named with."""

    operation: str
    engine: Engine
    options: BaseOptions
    given: frozenset[str] = frozenset()

    def identity(self) -> str:
        return hashlib.sha256(identity.prefix(self.engine, self.options).encode()).hexdigest()[:32]


def stage(operation_name: str, given: Mapping[str, Any], **wanted: Any) -> Stage:
    """A stage by what the user gave, over what the chain wants. Raises `model_unavailable` and `bad_option`."""
    row, option = operation(operation_name), OPTIONS[operation_name]
    if not isinstance(given.get("engine") or "", str):
        raise WavemillError("bad_option", f"{given['engine']!r} is no engine's name", f"{option}.engine")
    values = {name: value for name, value in wanted.items() if value is not None}
    values |= {name: value for name, value in given.items() if name != "engine"}
    try:
        engine = engine_class(row.name, given.get("engine") or row.default_engine)()
    except WavemillError as error:
        raise WavemillError(error.code, f"{option}.engine: {error.detail}", f"{option}.engine") from None
    try:
        options = engine.Options.parse(values)
    except WavemillError as error:
        if error.field not in given:
            raise
        raise WavemillError(error.code, f"{option}.{error.detail}", f"{option}.{error.field}") from None
    return Stage(row.name, engine, options, frozenset(given))


class Chain(Engine):
    """An engine whose `run` has other engines work; a subclass says which stages its options mean."""

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        """Every stage that these options can need. Raises `model_unavailable` and `bad_option`."""
        raise NotImplementedError

    def own_models(self, options: BaseOptions) -> tuple[str, ...]:
        """Rows of the weights table beside those of the stages."""
        return ()

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        found = [name for each in self.stages(options) for name in each.engine.models(each.options)]
        return tuple(dict.fromkeys([*found, *self.own_models(options)]))

    def weights(self, options: BaseOptions) -> str:
        from transforms import models

        return "+".join([*(each.identity() for each in self.stages(options)), *map(models.identity, self.own_models(options))])

    def check(self, item: Item) -> None:
        for each in self.stages(item.options):
            self.check_stage(each, item)

    def check_stage(self, stage: Stage, item: Item) -> None:
        """Refuse options with which the stage can work for no item."""
        try:
            steps.check_item(stage.engine, Item(item.key, item.id, stage.operation, stage.engine.name, stage.options, {}))
        except WavemillError as error:
            if error.field not in stage.given:
                raise
            raise WavemillError(error.code, error.detail, f"{OPTIONS[stage.operation]}.{error.field}") from None

    def check_installed(self, options: BaseOptions) -> None:
        super().check_installed(options)
        for each in self.stages(options):
            each.engine.check_installed(each.options)

    def load(self, place: Place) -> None:
        self._place, self._lock, self._alone = place, threading.Lock(), threading.Lock()
        self._loaded: dict[tuple[str, str], Engine] = {}

    def close(self) -> None:
        for engine in self._loaded.values():
            engine.close()
        self._loaded.clear()

    def work(self, stage: Stage, seed: int, inputs: Mapping[str, str | Audio]) -> Result:
        """What a stage makes of inputs that are here already. Raises the stage's failure as a WavemillError."""
        return self.work_all(stage, seed, [inputs])[0]

    def work_all(self, stage: Stage, seed: int, many: Sequence[Mapping[str, str | Audio]]) -> list[Result]:
        """As `work`, of several inputs that share the engine's batches. Raises the first failure."""
        engine, row = self._ready(stage), operation(stage.operation)
        flow: list[Work | Failure] = []
        for inputs in many:
            given = {name: Input("text", value) if isinstance(value, str) else Input("uri", name) for name, value in inputs.items()}
            item = Item(f"{seed:064x}", "", stage.operation, engine.name, stage.options, given)
            engine.check(item)
            flow.append(Work(item, row.module.split(item, inputs, engine)))
        results: list[Result] = []
        with nullcontext() if engine.parallel == "threads" else self._alone:
            inferred = steps.infer(flow, engine)
        for done in steps.join(inferred, row, engine):
            if isinstance(done, Failure):
                raise WavemillError(done.code, f"{stage.operation}: {done.detail}", done.field)
            results.append(done.payload)
        return results

    def _ready(self, stage: Stage) -> Engine:
        name = (stage.operation, stage.engine.name)
        with self._lock:
            if name not in self._loaded:
                stage.engine.load(self._place)
                self._loaded[name] = stage.engine
            return self._loaded[name]
