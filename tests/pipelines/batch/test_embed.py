"""`wavemill run embed`: the voices that recordings tell, as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.test_references import TEXT, say
from transforms import codec
from transforms.models import identity
from transforms.options import AudioOptions
from transforms.pull import pull
from transforms.records import Audio
from transforms.settings import Settings
from transforms.speakers import MODEL
from transforms.voices import resolve

from .conftest import Runner

OTHER = "Two boats came in slowly that morning, and an old man waved at them from the pier until they were gone again."


@pytest.mark.slow
def test_each_recording_gives_its_speakers_embedding_and_a_voice_to_speak_with_and_a_bad_one_costs_its_row(runner: Runner) -> None:
    pull(MODEL, Settings())
    sounds = {
        "joe": say("piper", TEXT),
        "joe again": say("piper", OTHER),
        "fable": say("kokoro", TEXT, voice="bm_fable"),
        "silent": Audio(np.zeros((1, 80000), np.float32), 16000),
    }
    for name, audio in sounds.items():
        (runner.folder / f"{name}.wav").write_bytes(codec.encode(audio, AudioOptions(format="wav")).data)
    runner.write([{"id": name, "audio": f"{name}.wav"} for name in sounds])
    flags = ("--method", "mix", "--max-failures", "1")
    assert runner.command("embed", *flags)["failed"] == {"bad_reference": 1}
    rows = {row["id"]: row for row in runner.manifest() if row["status"] == "done"}
    assert list(rows) == ["joe", "joe again", "fable"]
    files = {name: json.loads(Path(row["uri"]).read_bytes()) for name, row in rows.items()}
    for name, file in files.items():
        fields = json.loads(rows[name]["fields"])
        assert {**file, **{key: fields[key] for key in ("voice", "method", "similarity")}} == file
        assert (file["engine"], file["method"], file["encoder"]) == ("kokoro", "nearest mix of stock voices", identity(MODEL))
        assert file["duration_s"] == pytest.approx(sounds[name].duration_s, abs=0.002)
        assert sum(weight for _, weight in resolve("kokoro", file["voice"])) == pytest.approx(1)
        assert len(file["embedding"]) == 256 and np.linalg.norm(file["embedding"]) == pytest.approx(1, abs=1e-3)
    joe, again, fable = (np.array(file["embedding"]) for file in files.values())
    assert joe @ again > 0.8 > 0.7 > joe @ fable
    assert max(resolve("kokoro", files["fable"]["voice"]), key=lambda part: part[1])[0] == "bm_fable"
    assert runner.command("embed", *flags)["made"] == 0
