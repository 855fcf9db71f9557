"""Messages to outcomes: claims are read, equal ones worked once, and each message gets a message of its own for an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pipelines.stream.spec import StreamSpec
from pipelines.supervised import DEATHS
from pipelines.warm import WarmEngine
from sinks import replies
from sinks.kafka import Record
from sources import claims
from sources.kafka import Message
from transforms import identity, pull, steps
from transforms.errors import WavemillError, kind
from transforms.options import Options
from transforms.records import Failure, Item, Outcome
from transforms.settings import Settings
from transforms.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message: a record to write, or the fault of elsewhere (`later`) for which it must be tried again."""

    record: Record | None
    later: Failure | None = None
    audio_s: float = 0.0
    code: str = ""
    """The failure's code, where there is one."""


@dataclass(frozen=True, slots=True)
class _Read:
    item: Item
    inline: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Refused:
    """`id` is empty where the message does not tell it, `key` where it is no item."""

    failure: Failure
    id: str = ""
    key: str = ""


class Desk:
    """One per process. Making one pulls weights and loads the engine: raises errors of the system."""

    def __init__(self, spec: StreamSpec, settings: Settings, stop: threading.Event, on_bytes: pull.Progress | None = None) -> None:
        self.spec, self.settings, self.row, self.on_bytes = spec, settings, spec.row, on_bytes
        self.store = Store(spec.out, settings.storage_patience_s)
        self.engine = spec.new_engine()
        self._options = lru_cache(maxsize=4096)(self._parse)
        self._prefix = lru_cache(maxsize=4096)(lambda text: identity.prefix(self.engine, self._options(text)))
        self._options("{}")
        self.warm = WarmEngine(self.engine, self.store, settings, stop, None)

    def _parse(self, text: str) -> Options:
        options = self.engine.Options.parse(self.spec.options, json.loads(text))
        self.engine.check_installed(options)
        pull.pull_all(self.engine.models(options), self.settings, self.on_bytes)
        return options

    def answer(self, messages: Sequence[Message]) -> list[Answer]:
        """An answer for each. Raises `Stopped`, and errors of the system, of which no message is to blame."""
        read = [self._read(message) for message in messages]
        items = {found.item.key: found.item for _, found in read if isinstance(found, _Read)}
        inline = {uri: data for _, found in read if isinstance(found, _Read) for uri, data in found.inline.items()}
        outcomes = self._work(list(items.values()), inline)
        return [
            self._answer(message, found.item, outcomes[found.item.key]) if isinstance(found, _Read) else self._failed(message, found)
            for message, found in read
        ]

    def _read(self, message: Message) -> tuple[Message, _Read | _Refused]:
        """The message, in place of a failure of ours the one that failed, and what it asks for."""
        told = ""
        try:
            message = replace(message, value=claims.original(message.value))
            claims.require_carried(message.key, message.headers)
            request = claims.request(claims.parse(message.value), self.row)
            told = request.id
            text = json.dumps(dict(request.options), sort_keys=True)
            key = identity.key(self._prefix(text), request.inputs)
            name = request.id or f"{message.topic}-{message.partition}-{message.offset}"
            item = Item(key, name, self.row.name, self.engine.name, self._options(text), request.inputs)
            self.engine.check(item)
        except WavemillError as error:
            if error.kind == "usage":  # of a command line, this would be; here it is one message's
                return message, _Refused(Failure("bad_option", error.detail, error.field), told)
            return message, _Refused(steps.failure_of(error), told)
        return message, _Read(item, request.inline)

    def _work(self, items: Sequence[Item], inline: Mapping[str, bytes]) -> dict[str, Outcome]:
        if not items:
            return {}
        ordered = sorted(items, key=_alike)
        claims.hold(inline)
        try:
            outcomes, _ = self.warm.work(ordered)
        finally:
            claims.drop(inline)
        if any(not isinstance(outcome, Failure) for outcome in outcomes):
            self.store.flush()  # outputs are on the disk before a message names them
        return {item.key: outcome for item, outcome in zip(ordered, outcomes, strict=True)}

    def _answer(self, message: Message, item: Item, outcome: Outcome) -> Answer:
        if isinstance(outcome, Failure):
            return self._failed(message, _Refused(outcome, item.id, item.key))
        value = replies.done(_place(message), item, outcome, self.store)
        return Answer(Record(self.spec.output, message.key, value, message.headers), audio_s=outcome.duration_s)

    def _failed(self, message: Message, why: _Refused) -> Answer:
        return Answer(None, why.failure) if kind(why.failure.code) == "transient" else self._refuse(message, why)

    def _refuse(self, message: Message, why: _Refused) -> Answer:
        """The failure of a message, with its original bytes."""
        value = replies.failed(_place(message), why.id, why.key, self.row.name, self.engine.name, why.failure, message.value, self.store)
        key, headers = claims.carried(message.key, message.headers)
        return Answer(Record(self.spec.failures, key, value, headers), code=why.failure.code)

    def crashed(self, message: Message, cause: str) -> Answer:
        """The failure of a message that killed the process it was alone in."""
        message, found = self._read(message)
        failure = Failure("engine_crashed", f"the message killed its worker {DEATHS} times, and then a process of its own ({cause})")
        known = _Refused(failure, found.item.id, found.item.key) if isinstance(found, _Read) else replace(found, failure=failure)
        return self._refuse(message, known)

    def close(self) -> None:
        self.warm.close()


def _place(message: Message) -> replies.Place:
    return replies.Place(topic=message.topic, partition=message.partition, offset=message.offset)


def _alike(item: Item) -> tuple[str, int]:
    """Items side by side in this order share batches, and what is padded in one to the longest is little."""
    return item.options.canonical(), sum(len(given.value) for given in item.inputs.values() if given.kind == "text")
