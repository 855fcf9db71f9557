"""What brokers refuse, told by what to grant. Kafka's own words are kept: READ and WRITE on topics, groups and transactional ids
(https://kafka.apache.org/documentation/#operations_in_kafka).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import (
    AuthorizationError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from transforms.errors import WavemillError
from transforms.settings import KafkaAccess


@dataclass(frozen=True, slots=True)
class Rights:
    """What a client needs of its brokers: topics that it reads and writes, its group and its transactional id."""

    access: KafkaAccess
    reads: Sequence[str]
    writes: Sequence[str]
    group: str
    transactional_id: str

    @contextmanager
    def telling(self, wait_s: float) -> Iterator[None]:
        """`broker_unavailable` with what to do in place of a refusal; other errors of Kafka's pass, unless a look within `wait_s`
        finds that brokers refuse."""
        try:
            yield
        except (AuthorizationError, SaslAuthenticationFailedError) as error:
            raise self.refusal(error) from error
        except KafkaError:
            knock(self.access, wait_s)
            raise

    def refusal(self, error: KafkaError) -> WavemillError:
        """What to grant, where the error says of what kind it is."""
        if isinstance(error, TopicAuthorizationFailedError):
            named = {getattr(one, "topic", one) for one in (error.args[0] if error.args and isinstance(error.args[0], (set, list)) else ())}
            topics = [topic for topic in (*self.reads, *self.writes) if topic in named] or [*self.reads, *self.writes]
            return self._lacks(*(grant for topic in dict.fromkeys(topics) for grant in self._grants(topic)))
        if isinstance(error, GroupAuthorizationFailedError):
            return self._lacks(f"READ on the group {self.group}")
        if isinstance(error, TransactionalIdAuthorizationFailedError):
            return self._lacks(f"WRITE on the transactional id {self.transactional_id}")
        return WavemillError("broker_unavailable", f"{self.access.brokers} refuses: {error}")

    def _grants(self, topic: str) -> list[str]:
        wanted = [right for right, topics in (("READ", self.reads), ("WRITE", self.writes)) if topic in topics]
        return [f"{' and '.join(wanted)} on the topic {topic}"]

    def _lacks(self, *grants: str) -> WavemillError:
        who = self.access.sasl_plain_username or "this client's principal"
        return WavemillError("broker_unavailable", f"{self.access.brokers} refuses: grant {who} {', '.join(grants)}")

    def missing(self, wait_s: float) -> list[str]:
        """Those of the topics that are not there. Raises `broker_unavailable` where they refuse, naming what may not be read or written; and KafkaError."""
        knock(self.access, wait_s)
        admin = KafkaAdminClient(**self.access.client(), bootstrap_timeout_ms=round(wait_s * 1000))
        try:
            found = admin.describe_topics(list(dict.fromkeys((*self.reads, *self.writes))))
        finally:
            admin.close()
        missing, grants = [], []
        for one in found:
            name, error, rights = one["name"], for_code(one["error_code"]), one["authorized_operations"]
            if error is UnknownTopicOrPartitionError:
                missing.append(name)
            elif error is TopicAuthorizationFailedError:
                grants += self._grants(name)
            elif rights:  # not all brokers tell them
                lacking = (name in self.reads and "READ" not in rights) or (name in self.writes and "WRITE" not in rights)
                grants += self._grants(name) if lacking else []
        if grants:
            raise self._lacks(*grants)
        return missing


def knock(access: KafkaAccess, wait_s: float) -> None:
    """Connect once, as a client would, to the first broker that answers. Raises `broker_unavailable` where it refuses this client, or is
    not who it should be.

    kafka-python 3.0.12 tells the reason only to its log, and loses a broker's answer that comes with the end of its connection.
    """
    if access.security_protocol == "PLAINTEXT":
        return
    for address in access.brokers.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), wait_s) as plain, _secured(access, plain, host) as connection:
                if access.security_protocol == "SSL":
                    _ask(KafkaProtocol(), connection, ApiVersionsRequest(version=0))  # a certificate is refused behind the handshake
                else:
                    _authenticate(access, connection)
                return
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            continue  # it ended: no refusal
        except ssl.SSLError as error:
            why = f"{address} and this client do not agree on TLS: {error.reason or error}; see WAVEMILL_KAFKA_SSL_CAFILE, _CERTFILE, _KEYFILE"
            raise WavemillError("broker_unavailable", why) from error
        except (OSError, ValueError):
            continue


@contextmanager
def _secured(access: KafkaAccess, plain: socket.socket, host: str) -> Iterator[socket.socket]:
    if "SSL" not in access.security_protocol:
        yield plain
        return
    context = ssl.create_default_context(cafile=access.ssl_cafile)
    context.check_hostname = access.ssl_check_hostname
    if access.ssl_certfile:
        context.load_cert_chain(access.ssl_certfile, access.ssl_keyfile)
    with context.wrap_socket(plain, server_hostname=host.strip("[]")) as connection:
        yield connection


def _authenticate(access: KafkaAccess, connection: socket.socket) -> None:
    given = access.client()
    name = access.sasl_mechanism or ""
    protocol = KafkaProtocol()
    found = _ask(protocol, connection, SaslHandshakeRequest(version=1, mechanism=name))
    if found.error_code:
        why = f"SASL mechanism {name or 'unset'}; there are {', '.join(found.mechanisms)} (WAVEMILL_KAFKA_SASL_MECHANISM)"
        raise WavemillError("broker_unavailable", f"{access.brokers} refuses: {why}")
    mechanism = get_sasl_mechanism(name)(host=connection.getpeername()[0], **given)
    while not mechanism.is_done():
        found = _ask(protocol, connection, SaslAuthenticateRequest(version=1, auth_bytes=mechanism.auth_bytes()))
        if found.error_code:
            why = f"user {access.sasl_plain_username}: {found.error_message or for_code(found.error_code).__name__}"
            hint = "see WAVEMILL_KAFKA_SASL_PLAIN_USERNAME and WAVEMILL_KAFKA_SASL_PLAIN_PASSWORD"
            raise WavemillError("broker_unavailable", f"{access.brokers} refuses: {why}; {hint}")
        mechanism.receive(found.auth_bytes)


def _ask(protocol: KafkaProtocol, connection: socket.socket, request: Any) -> Any:
    """The response. Raises OSError where the connection ends."""
    protocol.send_request(request)
    connection.sendall(protocol.send_bytes())
    while data := connection.recv(4096):
        for _, response in protocol.receive_bytes(data):
            return response
    raise ConnectionError("the broker ended the connection")
