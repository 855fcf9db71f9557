"""enhance over a manifest, with its real default engine."""

from __future__ import annotations

import io

import pytest

from tests.transforms.engines import enhancing as sound
from transforms import codec
from transforms.engines.deepfilternet import MODEL
from transforms.options import AudioOptions
from transforms.pull import pull
from transforms.records import Audio
from transforms.settings import Settings

from .conftest import Runner

RATE_HZ = 48000


@pytest.mark.slow
def test_noisy_files_come_out_clean_and_a_bad_row_costs_itself(runner: Runner) -> None:
    pull(MODEL, Settings())
    clean = sound.speech(RATE_HZ)
    given = sound.noisy(clean)
    path = runner.folder / "noisy.wav"
    path.write_bytes(codec.encode(Audio(given[None], RATE_HZ), AudioOptions(format="wav")).data)
    runner.write(
        [
            {"id": "a", "audio": str(path)},
            {"id": "b", "audio": str(path), "strength": 4},
            {"id": "c", "audio": str(path), "denoise": False, "clarity": False},
            {"id": "d", "audio": str(path), "strength": 1},
        ]
    )
    summary = runner.run(operation="enhance", engine="deepfilternet", max_failures="2")
    rows = {row["id"]: row for row in runner.manifest()}
    assert (summary.exit_code, summary.done) == (0, 2)
    assert (rows["b"]["code"], rows["c"]["code"]) == ("bad_option", "bad_option")
    for name, gain_db in (("a", 9), ("d", 6)):
        data = runner.store.read(rows[name]["uri"][len(runner.store.url) + 1 :])
        assert data is not None
        heard = codec.decode(io.BytesIO(data), RATE_HZ, 1, 3600.0).samples[0][: len(clean)]
        assert abs(len(heard) - len(clean)) < RATE_HZ // 10
        assert sound.si_sdr_db(clean[: len(heard)], heard) - sound.si_sdr_db(clean, given) >= gain_db - 1
