"""Jars from Maven are the pinned ones, or none."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pipelines.dev import jars
from transforms.errors import WavemillError

POM = """
<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version>
<dependencies><dependency><groupId>org.slf4j</groupId><artifactId>slf4j-api</artifactId><version>2.0.16</version></dependency></dependencies>
</project>
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


def test_a_program_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WavemillError, match="the program `java` is not here; Flink needs a Java runtime of version 17"):
        jars.program("java", "Flink")
