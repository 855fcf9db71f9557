"""SmolLM2-135M-Instruct by llama.cpp, in this process: small, quick and English, for where no endpoint is at hand."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transforms import complete, models
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Failure, Outcome, Piece, Result

MODEL = "smollm2-135m"
CONTEXT = 8192
"""Tokens of conversation and answer together: what the model was trained on."""


class SmolLM(Engine):
    """A conversation a thread, each with one of its own inside llama.cpp: company, and more threads, would change the last bits of an answer."""

    name = "smollm"
    operation = "complete"
    version = 2
    Options = complete.Options
    requires = ("xllamacpp",)
    max_chars = 100_000
    cost_s = 0.02

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (MODEL,)

    def load(self, place: Place) -> None:
        try:
            import xllamacpp  # noqa: F401  a broken installation shows here, before any work
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"xllamacpp: {error}") from error
        self._place, self._opening, self._idle = place, threading.Lock(), list[Any]()
        self._working = threading.Semaphore(place.threads if place.device == "cpu" else 1)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._answer(piece) for piece in pieces]

    def close(self) -> None:
        self._idle.clear()

    def _answer(self, piece: Piece) -> Outcome:
        options = piece.options
        asked = {
            "messages": complete.conversation(piece),
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "seed": piece.seed % 2**31,
            "cache_prompt": False,  # what the last conversation left would change the next one's last bits
        }
        with self._free() as server:
            answer = server.handle_chat_completions(asked)
        error = answer.get("error")
        if error and error.get("type") == "exceed_context_size_error":
            detail = f"{error.get('n_prompt_tokens')} tokens of conversation, more than {CONTEXT}, which the model can take"
            return Failure("text_too_long", detail, "text")
        if error:
            return Failure("engine_error", f"llama.cpp: {error.get('message')}"[:500])
        (choice,) = answer["choices"]
        fields = {"text": (choice["message"]["content"] or "").strip(), "tokens": answer["usage"]["completion_tokens"]}
        return Result(complete.told(fields, "length" if choice.get("finish_reason") == "length" else ""))

    @contextmanager
    def _free(self) -> Iterator[Any]:
        """A server that answers nobody else; they share the weights on disk."""
        with self._working:
            try:
                server = self._idle.pop()
            except IndexError:
                server = self._open()
            try:
                yield server
            finally:
                self._idle.append(server)

    def _open(self) -> Any:
        from xllamacpp import CommonParams, Server

        row = models.known(MODEL)
        params = CommonParams()
        params.model.path = str(models.folder(MODEL, self._place.models_dir) / row.files[0].name)
        params.n_ctx, params.n_parallel = CONTEXT, 1
        # of several threads each waits in a loop for the others, a hundred times a word: on a machine at work, for seconds
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.n_gpu_layers = -1 if self._place.device in ("cuda", "auto") else 0
        params.warmup, params.verbosity = False, -1
        params.cache_ram_mib = params.n_ctx_checkpoints = 0
        # the library opens a port on this machine for its own web server; nobody else is let in
        params.api_keys, params.ui = [secrets.token_hex()], False
        with self._opening:
            return Server(params)
