"""Any OpenAI-compatible chat endpoint, to translate and to answer: `WAVEMILL_TEXT_URL`, `_KEY` and `_MODEL` say which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from transforms import complete, endpoint, translate_text
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Failure, Item, Outcome, Piece, Result
from transforms.settings import TextEndpoint

MODEL: Any = Field("", description="model to ask the endpoint for; WAVEMILL_TEXT_MODEL when unset")
ORDER = "Translate what the user writes {source}into the language with the code {to}. Answer with the translation alone, nothing before or after it."


class _Endpoint(Engine):
    """What both engines share. Threads wait for the network side by side."""

    name = "openai"
    requires = ("httpx",)
    deterministic = False
    cost_s = 0.005

    def weights(self, options: BaseOptions) -> str:
        return endpoint.identity(TextEndpoint.here(), _model(options))

    def check(self, item: Item) -> None:
        endpoint.check(TextEndpoint.here(), _model(item.options))

    def load(self, place: Place) -> None:
        self._settings = TextEndpoint.here()
        try:
            self._client = endpoint.open_client(self._settings)
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"httpx: {error}") from error

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._try(piece) for piece in pieces]

    def close(self) -> None:
        self._client.close()

    def _try(self, piece: Piece) -> Outcome:
        try:
            return self._one(piece)
        except WavemillError as error:
            if error.kind in ("system", "usage"):
                raise
            return Failure(error.code, error.detail, error.field)

    def _one(self, piece: Piece) -> Outcome:
        raise NotImplementedError

    def _ask(self, piece: Piece, messages: Sequence[dict[str, str]], **request: Any) -> tuple[dict[str, Any], str]:
        """The fields of an answer, and why it was cut, where it was."""
        # many servers take a seed of 32 bits
        request |= {"seed": piece.seed % 2**31, "model": _model(piece.options) or self._settings.model}
        answer = endpoint.chat(self._client, self._settings, messages, **request)
        return {"text": answer.text} if answer.tokens is None else {"text": answer.text, "tokens": answer.tokens}, answer.cut


class OpenAITranslation(_Endpoint):
    """A paragraph a request."""

    operation = "translate_text"
    max_chars = 2000

    class Options(translate_text.Options):
        model: str = MODEL

    def check(self, item: Item) -> None:
        translate_text.check(item.options)
        super().check(item)

    def _one(self, piece: Piece) -> Outcome:
        source = f"from the language with the code {piece.options.source} " if piece.options.source else ""
        order = ORDER.format(source=source, to=piece.options.to)
        messages = [{"role": "system", "content": order}, {"role": "user", "content": str(piece.inputs["text"])}]
        fields, cut = self._ask(piece, messages, temperature=0)
        if cut:
            raise WavemillError("endpoint_nonsense", f"the translation was cut ({cut}) after {fields['text'][-40:]!r}")
        return Result(fields)


class OpenAICompletion(_Endpoint):
    """A conversation a request."""

    operation = "complete"
    max_chars = 400_000

    class Options(complete.Options):
        model: str = MODEL

    def _one(self, piece: Piece) -> Outcome:
        options = piece.options
        limits = {"max_tokens": options.max_tokens, "temperature": options.temperature}
        fields, cut = self._ask(piece, complete.conversation(piece), **limits)
        return Result(complete.told(fields, cut))


def _model(options: BaseOptions) -> str:
    return str(getattr(options, "model", ""))
