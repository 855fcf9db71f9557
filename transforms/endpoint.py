"""One chat request to an OpenAI-compatible endpoint: tried again where that helps, and its failures as codes.

The key goes into the request's header and nowhere else: not into identities, messages or logs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from transforms.errors import WavemillError
from transforms.settings import TextEndpoint

LONGEST_WAIT_S = 30.0
MOST_BYTES = 16 << 20
"""The longest answer that is read."""
CUT = ("length", "content_filter")
"""What an endpoint says of an answer that is not whole (`finish_reason`)."""


class Answer(NamedTuple):
    """A text, its length in tokens where the endpoint says, and `length` or `content_filter` where it was cut."""

    text: str
    tokens: int | None = None
    cut: str = ""


class _Refused(Exception):
    """401, 403 or 404: of us, or of this one request."""


class _Again(Exception):
    """What another attempt may mend; `wait_s` is what the server asked for."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def place(settings: TextEndpoint) -> str:
    """The endpoint's URL without what may be a secret: user, password and query."""
    parts = urlsplit(settings.url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def check(settings: TextEndpoint, model: str = "") -> None:
    """Raises `model_unavailable` when nobody said which endpoint and which model."""
    if urlsplit(settings.url).scheme not in ("http", "https"):
        raise WavemillError("model_unavailable", "no endpoint: set WAVEMILL_TEXT_URL to one such as http://localhost:8080/v1", "engine")
    if not (model or settings.model):
        raise WavemillError("model_unavailable", "no model: set WAVEMILL_TEXT_MODEL to what the endpoint calls it", "engine")


def identity(settings: TextEndpoint, model: str = "") -> str:
    return f"{model or settings.model}@{place(settings)}"


def open_client(settings: TextEndpoint) -> Any:
    """A client that several threads may share. `Any`: httpx is not imported before an engine is loaded."""
    import httpx

    key = settings.key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(headers=headers, timeout=httpx.Timeout(settings.timeout_s), limits=httpx.Limits(max_connections=None))


def chat(client: Any, settings: TextEndpoint, messages: Sequence[dict[str, str]], **request: Any) -> Answer:
    """The answer to a conversation.

    Raises `endpoint_unavailable` when it is down, busy or slow at every attempt, `endpoint_nonsense` for an answer that holds
    no text or does not end, `engine_error` when it refuses this request, `engine_unloadable` when it refuses a plain one too.
    """
    body = {"model": settings.model, "messages": list(messages)} | request
    try:
        return _read(settings, _patiently(client, settings, body))
    except _Refused as refused:
        plain = {"model": body["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            _patiently(client, settings, plain)
        except _Refused:
            detail = f"{place(settings)} answered {refused}: see WAVEMILL_TEXT_URL, _KEY and _MODEL"
            raise WavemillError("engine_unloadable", detail) from None
        raise WavemillError("engine_error", f"{place(settings)} answered {refused} to this request, and not to another") from None


def _patiently(client: Any, settings: TextEndpoint, body: dict[str, Any]) -> bytes:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

    again = Retrying(
        retry=retry_if_exception_type(_Again), stop=stop_after_attempt(settings.attempts), wait=_Wait(settings.wait_s), reraise=True
    )
    try:
        return again(_ask, client, settings, body)
    except _Again as why:
        detail = f"{place(settings)} after {settings.attempts} attempts: {why}"
        raise WavemillError("endpoint_unavailable", detail) from why


def _read(settings: TextEndpoint, answer: bytes) -> Answer:
    try:
        told = json.loads(answer)
        choice = told["choices"][0]
        text, tokens, finish = choice["message"]["content"], (told.get("usage") or {}).get("completion_tokens"), choice.get("finish_reason")
        text.encode()  # JSON can name half a character, which no file can hold
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        text, tokens, finish = None, None, None
    if not isinstance(text, str) or not text.strip():
        raise WavemillError("endpoint_nonsense", f"{place(settings)} answered no text: {_shown(answer)}")
    return Answer(text.strip(), tokens if isinstance(tokens, int) else None, finish if finish in CUT else "")


def _ask(client: Any, settings: TextEndpoint, body: dict[str, Any]) -> bytes:
    import httpx

    ends_s = time.monotonic() + settings.timeout_s  # the client's own limit is on each wait, and a drop a second meets it
    read = bytearray()
    try:
        with client.stream("POST", f"{settings.url.rstrip('/')}/chat/completions", json=body) as answer:
            for block in answer.iter_bytes():
                read += block
                if len(read) > MOST_BYTES:
                    raise WavemillError("endpoint_nonsense", f"{place(settings)} answered more than {MOST_BYTES} bytes")
                if time.monotonic() > ends_s:
                    raise _Again(f"its answer had not ended after {settings.timeout_s:g} s")
    except httpx.LocalProtocolError as error:  # its text may hold a header
        raise _Again(type(error).__name__) from None
    except httpx.TransportError as error:
        raise _Again(f"{type(error).__name__}: {error}") from error
    except httpx.DecodingError as error:
        raise WavemillError("endpoint_nonsense", f"{place(settings)}: {error}") from error
    status = answer.status_code
    if status in (408, 429) or status >= 500:
        raise _Again(f"it answered {status}", _asked_wait_s(answer.headers.get("retry-after")))
    if status in (401, 403, 404):
        raise _Refused(status)
    if status != 200:
        raise WavemillError("engine_error", f"{place(settings)} answered {status}: {_shown(read)}")
    return bytes(read)


def _shown(answer: bytes | bytearray) -> str:
    return repr(answer[:200].decode(errors="replace"))


def _asked_wait_s(header: str | None) -> float:
    return float(header) if header and header.isdigit() else 0.0


class _Wait:
    """Twice as long each time, or what the server asked for, but never very long."""

    def __init__(self, first_s: float) -> None:
        self.first_s = first_s

    def __call__(self, state: Any) -> float:
        asked_s: float = state.outcome.exception().wait_s
        grown_s: float = self.first_s * 2 ** (state.attempt_number - 1)
        return min(max(asked_s, grown_s), LONGEST_WAIT_S)
