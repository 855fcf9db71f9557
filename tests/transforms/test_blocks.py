"""Audio that waits on disk."""

from __future__ import annotations

import subprocess
import sys

MANY = """
import resource
import numpy as np
from transforms import blocks

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
held = [blocks.gather([np.zeros((1, 10), np.float32)], 16000, 1, spill_bytes=0) for _ in range(100)]
print(len(held))
"""


def test_a_long_recording_may_have_more_pieces_than_a_shell_lets_a_process_have_files() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "100", done.stderr
