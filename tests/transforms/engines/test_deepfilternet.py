"""DeepFilterNet3: where its library runs. What it does to speech is held in `test_enhancing.py`."""

from __future__ import annotations

import pytest

from transforms.engines.deepfilternet import require_platform
from transforms.errors import WavemillError


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64"), ("win32", "AMD64")])
def test_where_the_library_cannot_run_is_said_and_what_can(system: str, machine: str) -> None:
    with pytest.raises(WavemillError, match="gtcrn") as caught:
        require_platform(system, machine)
    assert caught.value.code == "engine_unloadable"
    require_platform("linux", "x86_64")
