"""Where things run: one frozen value, built once in each entry point from `WAVEMILL_*` and passed on."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from transforms.errors import WavemillError

S = TypeVar("S", bound=BaseSettings)


def _here(kind: type[S], **given: Any) -> S:
    """Raises `bad_usage` naming the variable, never what it holds."""
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        why = first["msg"].removeprefix("Value error, ")
        raise WavemillError("bad_usage", f"{kind.model_config['env_prefix']}{name.upper()}: {why}", name) from None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wavemill"


class Settings(BaseSettings):
    """Every field is also an environment variable, `WAVEMILL_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="WAVEMILL_", frozen=True, extra="ignore")

    models_dir: Path = Field(default_factory=lambda: _cache() / "models", description="where weights are kept")
    voices: str = Field(default_factory=lambda: str(_cache() / "voices"), description="folder or URL of saved voices")
    dev_dir: Path = Field(default_factory=lambda: _cache() / "dev", description="where `wavemill dev` keeps services")
    programs_dir: Path = Field(default_factory=lambda: _cache() / "programs", description="where programs of such services are kept")
    device: Literal["cpu", "cuda", "mps", "auto"] = Field(
        "cpu", description="where engines run; auto is the best device that the engine's library finds here"
    )
    workers: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1, description="engine threads")
    pull: bool = Field(True, description="fetch missing weights before a run")
    max_chars: int = Field(200_000, ge=1, description="longest text of one item, in characters")
    max_audio_h: float = Field(12.0, gt=0, description="longest audio of one item, in hours")
    max_input_bytes: int = Field(8 << 30, ge=1, description="largest input file")
    hub_timeout_s: float = Field(5.0, gt=0, description="how long to wait for the model hub before the packages")
    storage_patience_s: float = Field(60.0, ge=0, description="how long a storage error is retried before the run stops")
    lease_ttl_s: float = Field(60.0, gt=0, description="a lease without a heartbeat for this long is dead")
    memory_limit_mb: int = Field(0, ge=0, description="an engine's process that holds more is replaced between two work units; 0 is never")
    runner: Literal["local", "flink", "portable"] = Field("local", description="what runs the pipeline")
    endpoint: str = Field("", description="HOST:PORT of the job server of a cluster")
    pool: str = Field("localhost:50000", description="HOST:PORT at which each task manager finds its worker pool")
    beam_options: tuple[str, ...] = Field((), description="further options of Beam, key=value")
    cluster_patience_s: float = Field(120.0, gt=0, description="how long a cluster may show no sign of work before the run stops")


class PoolPlace(BaseSettings):
    """What a worker pool tells its workers of the machine, as `WAVEMILL_POOL_*`."""

    model_config = SettingsConfigDict(env_prefix="WAVEMILL_POOL_", frozen=True, extra="ignore")

    name: str = Field(default_factory=socket.gethostname, description="the host's name in messages")
    folder: Path = Field(default_factory=lambda: _cache() / "pool", description="where logs stand and engine copies are locked")
    copies: int = Field(1, ge=1, description="engines loaded at once")
    devices: str = Field("", description="devices by commas, one for each copy in turn")


class TextEndpoint(BaseSettings):
    """The OpenAI-compatible endpoint of the `openai` engines, from `WAVEMILL_TEXT_URL`, `WAVEMILL_TEXT_KEY` and so on."""

    model_config = SettingsConfigDict(env_prefix="WAVEMILL_TEXT_", frozen=True, extra="ignore")

    url: str = Field("", description="base URL, to which /chat/completions is added")
    key: SecretStr = Field(SecretStr(""), description="bearer token, where one is needed")
    model: str = Field("", description="model to ask for")
    timeout_s: float = Field(60.0, gt=0, description="how long one answer may take")
    attempts: int = Field(4, ge=1, description="how often a request is tried")
    wait_s: float = Field(1.0, ge=0, description="seconds before the second attempt, doubled before each further one")

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            lacking = parts.scheme in ("http", "https") and (not parts.hostname or parts.port == 0)
        except ValueError as error:
            raise ValueError(f"no URL: {error}") from None
        if lacking:
            raise ValueError("the URL has no host")
        return url

    @field_validator("key")
    @classmethod
    def _sendable(cls, key: SecretStr) -> SecretStr:
        """Without the line end that a mounted file gives it."""
        bare = key.get_secret_value().strip()
        if not (bare.isascii() and (bare.isprintable() or not bare)):
            raise ValueError("holds characters that no header can")
        return SecretStr(bare)

    @staticmethod
    def here() -> TextEndpoint:
        """As the environment says. Raises `bad_usage` naming the variable, never what it holds."""
        return _here(TextEndpoint)


class KafkaAccess(BaseSettings):
    """How Kafka is reached, from `WAVEMILL_KAFKA_SECURITY_PROTOCOL` and so on: never from flags, which any process list shows."""

    model_config = SettingsConfigDict(env_prefix="WAVEMILL_KAFKA_", frozen=True, extra="ignore")

    brokers: str = Field("127.0.0.1:9092", description="HOST:PORT of some brokers, by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how brokers are spoken to"
    )
    sasl_mechanism: str | None = Field(None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    sasl_plain_username: str | None = Field(None, description="user of SASL")
    sasl_plain_password: SecretStr | None = Field(None, description="its password")
    ssl_cafile: FilePath | None = Field(None, description="certificates that brokers are checked against")
    ssl_certfile: FilePath | None = Field(None, description="this client's certificate")
    ssl_keyfile: FilePath | None = Field(None, description="its key")
    session_s: float = Field(10.0, ge=1, description="a worker that is silent for so long has left its group")
    poll_interval_s: float = Field(300.0, ge=2, description="and so has one whose loop stands still for so long")
    ssl_check_hostname: bool = Field(True, description="whether a broker's certificate must name its host")

    @staticmethod
    def here(brokers: str | None = None) -> KafkaAccess:
        """As the environment says; `KAFKA_BOOTSTRAP_SERVERS`, which Kafka's other programs know, names the brokers too.

        Raises `bad_usage` naming the variable, never what a secret one holds.
        """
        found = brokers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        return _here(KafkaAccess, **({"brokers": found} if found else {}))

    def client(self) -> dict[str, Any]:
        """What every Kafka client takes to connect."""
        given = self.model_dump(exclude={"brokers", "sasl_plain_password", "session_s", "poll_interval_s"})
        if self.sasl_plain_password:
            given["sasl_plain_password"] = self.sasl_plain_password.get_secret_value()
        return {"bootstrap_servers": self.brokers.split(","), **given}
