"""Messages that killed their worker, one by one in a child process: the one that kills it again is the failure `engine_crashed`.

As a program it is that child: it reads the job and the messages, and answers each before it opens the next.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pipelines.stream.desk import Answer, Desk
from pipelines.stream.spec import StreamSpec
from pipelines.supervised import Child, Control, cause
from sinks.kafka import Record
from sources.kafka import Message
from transforms import steps
from transforms.errors import WavemillError
from transforms.records import Failure
from transforms.scratch import temporary_folder
from transforms.settings import Settings


def answer(desk: Desk, messages: Sequence[Message], control: Control) -> list[Answer]:
    """An answer for each. Raises `Stopped` when `control` says stop, and what the child tells of the system."""
    answers: dict[int, Answer] = {}

    def hear(event: dict[str, Any]) -> None:
        if "answer" in event:
            answers[int(event["done"])] = _decode_answer(event["answer"])

    with temporary_folder() as scratch:
        while left := [index for index in range(len(messages)) if index not in answers]:
            lines = [
                json.dumps({"spec": asdict(desk.spec), "settings": desk.settings.model_dump(mode="json")}),
                json.dumps([[index, _encode(messages[index])] for index in left]),
            ]
            child = Child("pipelines.stream.apart", lines, scratch, control, hear)
            code = child.run()
            if control.reason is not None:
                raise steps.Stopped
            if code == 0:
                continue
            if not child.opened:
                raise WavemillError("engine_unloadable", f"the process died before any work ({cause(code)})\n{child.last_lines}")
            for index in map(int, child.opened):
                answers[index] = desk.crashed(messages[index], cause(code))
    return [answers[index] for index in range(len(messages))]


def main() -> int:
    """The child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    job, messages = json.loads(sys.stdin.readline()), json.loads(sys.stdin.readline())
    stop = threading.Event()

    def obey() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                stop.set()
        os._exit(4)  # the parent is gone

    threading.Thread(target=obey, name="parent", daemon=True).start()

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")

    try:
        desk = Desk(StreamSpec(**job["spec"]), Settings(**job["settings"]), stop)
        for index, message in messages:
            emit({"open": str(index)})
            (found,) = desk.answer([_decode(message)])
            emit({"done": str(index), "answer": _encode_answer(found)})
    except steps.Stopped:
        pass
    except WavemillError as error:
        emit({"error": error.code, "detail": error.detail})
        return 3
    return 0


def _encode(message: Message) -> dict[str, Any]:
    return {**asdict(message), "key": _text(message.key), "value": _text(message.value), "headers": _texts(message.headers)}


def _decode(values: Mapping[str, Any]) -> Message:
    bare = {**values, "key": _bytes(values["key"]), "value": _bytes(values["value"]), "headers": _pairs(values["headers"])}
    return Message(**bare)


def _encode_answer(answer: Answer) -> dict[str, Any]:
    record = answer.record and {
        "topic": answer.record.topic,
        "key": _text(answer.record.key),
        "value": _text(answer.record.value),
        "headers": _texts(answer.record.headers),
    }
    return {**asdict(replace(answer, record=None)), "record": record}


def _decode_answer(values: Mapping[str, Any]) -> Answer:
    given, later = values["record"], values["later"]
    record = given and Record(given["topic"], _bytes(given["key"]), _bytes(given["value"]) or b"", _pairs(given["headers"]))
    return Answer(**{**values, "record": record, "later": later and Failure(**later)})


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _texts(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, str]]:
    return [(name, base64.b64encode(data).decode()) for name, data in headers]


def _pairs(headers: Sequence[Sequence[str]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, base64.b64decode(data)) for name, data in headers)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
