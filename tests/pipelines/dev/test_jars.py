"""Jars from Maven are the pinned ones, or none."""

from __future__ import annotations

import hashlib
import shutil
import socket
from pathlib import Path

import pytest

from pipelines.dev import jars
from transforms.errors import WavemillError

POM = """
<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version>
<dependencies><dependency><groupId>org.slf4j</groupId><artifactId>slf4j-api</artifactId><version>2.0.16</version></dependency></dependencies>
</project>
"""
MIRROR = """
<settings><mirrors><mirror><id>silent</id><mirrorOf>*</mirrorOf><url>http://127.0.0.1:{port}/</url></mirror></mirrors></settings>
"""


@pytest.mark.slow
@pytest.mark.java
@pytest.mark.skipif(shutil.which("mvn") is None, reason="needs the program mvn")
def test_a_jar_that_is_not_the_pinned_one_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    pom, digests, target = tmp_path / "pom.xml", tmp_path / "jars.sha256", tmp_path / "programs" / "logging"
    pom.write_text(POM)
    digests.write_text(f"{'0' * 64}  slf4j-api-2.0.16.jar\n")
    with pytest.raises(WavemillError, match=r"jars of Logging are not the pinned ones: slf4j-api-2\.0\.16\.jar") as caught:
        jars.fetch("Logging", pom, digests, target)
    assert caught.value.code == "bad_usage" and not target.exists()
    jars._copy("Logging", pom, tmp_path / "copied")
    (copied,) = (tmp_path / "copied").iterdir()
    digests.write_text(f"{hashlib.sha256(copied.read_bytes()).hexdigest()}  {copied.name}\n")
    assert [path.name for path in jars.fetch("Logging", pom, digests, target).iterdir()] == [copied.name]


@pytest.mark.slow
@pytest.mark.java
@pytest.mark.skipif(shutil.which("mvn") is None, reason="needs the program mvn")
def test_a_connection_that_stalls_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / ".m2").mkdir()
        (tmp_path / ".m2/settings.xml").write_text(MIRROR.format(port=silent.getsockname()[1]))
        (tmp_path / "pom.xml").write_text(POM)
        monkeypatch.setenv("MAVEN_OPTS", f"-Duser.home={tmp_path}")
        monkeypatch.setattr(jars, "STALLED_S", 1)
        monkeypatch.setattr(jars, "TRIES", 2)
        with pytest.raises(WavemillError, match="Maven cannot fetch Logging") as caught:
            jars._copy("Logging", tmp_path / "pom.xml", tmp_path / "copied")
        assert caught.value.code == "bad_usage"
        silent.settimeout(1)
        for _ in range(jars.TRIES):
            silent.accept()[0].close()


def test_a_program_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WavemillError, match="the program `java` is not here; Flink needs a Java runtime of version 17"):
        jars.program("java", "Flink")
