"""Blobs: the outputs themselves, named by identity and content so that a late twin overwrites nothing."""

from __future__ import annotations

from transforms.records import Encoded, Result, Stored, Work
from transforms.steps import Flow
from transforms.store import Store


def name(key: str, output: Encoded) -> str:
    return f"blobs/{key[:2]}/{key}-{output.sha256[:12]}.{output.format}"


def within(uri: str) -> str:
    """The name in its OUT of the blob that a manifest names, wherever that OUT has been moved since."""
    return f"blobs/{uri.rpartition('/blobs/')[2]}"


def store(works: Flow, place: Store) -> Flow:
    """Write every output of every result. Payload: the `Result` with each output `Stored`, its URI relative to OUT."""
    files: dict[str, bytes] = {}
    flow: Flow = []
    for work in works:
        if isinstance(work, Work):
            result: Result = work.payload
            outputs = {}
            for label, output in result.outputs.items():
                path = name(work.item.key, output)
                files[path] = output.data
                outputs[label] = Stored(label, path, output.format, len(output.data), output.sha256, output.duration_s)
            work = Work(work.item, Result(result.fields, outputs))
        flow.append(work)
    place.write_many(files)
    return flow
