"""An Apache Kafka that asks who one is and looks up what one may do: SCRAM, TLS and an authorizer."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)

from pipelines.dev import kafka as apache_kafka, process
from pipelines.dev.process import Running

USER, PASSWORD = "worker", "correct-horse-battery"
LISTENERS = {"scram": "SASL_PLAINTEXT", "tls": "SSL", "both": "SASL_SSL"}
PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},SCRAM://127.0.0.1:{scram},TLS://127.0.0.1:{tls},BOTH://127.0.0.1:{both}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},SCRAM://127.0.0.1:{scram},TLS://127.0.0.1:{tls},BOTH://127.0.0.1:{both}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_PLAINTEXT,TLS:SSL,BOTH:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.both.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.both.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.both.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/{user}.pem
listener.name.tls.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
"""Who comes by `broker` may do all; who comes by another port, what is granted."""


@dataclass(frozen=True, slots=True)
class Secured:
    folder: Path
    running: Running

    def at(self, listener: str) -> str:
        return f"127.0.0.1:{self.running.ports[listener]}"

    @property
    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.at("broker"))

    def environment(self, listener: str, mechanism: str = "SCRAM-SHA-512", password: str = PASSWORD) -> dict[str, str]:
        """What tells a client how to come by `listener`."""
        given = {"SECURITY_PROTOCOL": LISTENERS[listener]}
        if listener != "tls":
            given |= {"SASL_MECHANISM": mechanism, "SASL_PLAIN_USERNAME": USER, "SASL_PLAIN_PASSWORD": password}
        if listener != "scram":
            given["SSL_CAFILE"] = str(self.folder / "broker.pem")
        if listener == "tls":
            given |= {"SSL_CERTFILE": str(self.folder / f"{USER}.pem"), "SSL_KEYFILE": str(self.folder / f"{USER}.key")}
        return {f"WAVEMILL_KAFKA_{name}": value for name, value in given.items()}

    def change(self, allow: ACLPermissionType, *rights: tuple[ResourceType, str, ACLOperation]) -> None:
        principals = (f"User:{USER}", f"User:CN={USER}")
        with self.admin as admin:
            made = admin.create_acls(
                [ACL(who, "*", right, allow, ResourcePattern(kind, name)) for kind, name, right in rights for who in principals]
            )
        assert not made["failed"]

    def forget(self, allow: ACLPermissionType, right: tuple[ResourceType, str, ACLOperation]) -> None:
        kind, name, operation = right
        with self.admin as admin:
            admin.delete_acls([ACLFilter(None, "*", operation, allow, ResourcePatternFilter(kind, name, ACLResourcePatternType.LITERAL))])

    def grant(self, *rights: tuple[ResourceType, str, ACLOperation]) -> None:
        self.change(ACLPermissionType.ALLOW, *rights)


def start(folder: Path) -> Secured:
    for name in ("broker", USER):
        new = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ]
        made = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
        subprocess.run(["openssl", "req", "-x509", *new, *made], cwd=folder, check=True, capture_output=True)
    (folder / "broker.both.pem").write_text((folder / "broker.key").read_text() + (folder / "broker.pem").read_text())
    ports = process.choose_ports(("broker", "controller", *LISTENERS))
    command = apache_kafka.command(folder, ports, PROPERTIES.format(folder=folder, user=USER, **ports))
    secured = Secured(folder, process.spawn(command, {}, folder, ports))
    while not apache_kafka.answers(ports):
        assert process.find(secured.running), Path(secured.running.log).read_text()[-2000:]
    with secured.admin as admin:
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, mechanism, PASSWORD)])
    return secured
