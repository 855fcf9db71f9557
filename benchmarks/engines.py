"""Kokoro and faster-whisper through the pipeline against bare loops over the same engines, in interleaved turns.

`best` is the best bare loop we could write: the same engine object, as many threads as cores each calling it, with the number
of pieces a call that did best for this engine, outputs encoded and written by the thread that made them, nothing else. `naive`
is what a first script does: one session or model with the library's default threads, one item at a time. The work window is
from the loaded engine to the last file or commit.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, WAVEMILL, Series, ratios, run, spread, table

PAIRS = 10
AT_ONCE = {"kokoro": 1, "faster-whisper": 8}
"""Pieces in one call of the best bare loop: of 1, 4, 8 and 16 the fastest."""


def sentences() -> list[str]:
    """The demo story's sentences, longest first as the pipeline takes them."""
    from transforms import sentences as splitting

    rows = [json.loads(line)["text"] for line in (ROOT / "examples/story.jsonl").read_text().splitlines()]
    found = [sentence for row in rows for sentence in splitting.sentences(row, "en") if len(sentence) > 30]
    return sorted(found, key=len, reverse=True)[:20]


def prepare(folder: Path) -> None:
    """The manifests: sentences, and clips spoken from them."""
    texts = sentences()
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text, "voice": "af_bella"}) + "\n" for text in texts))
    run([*WAVEMILL, "run", "synthesize", str(folder / "texts.jsonl"), "-o", str(folder / "spoken"), "--format", "wav", "--quiet"])
    import pyarrow.parquet as pq

    clips = []
    for uri in pq.read_table(folder / "spoken/manifest.parquet").column("uri").to_pylist()[:15]:
        for _ in range(4):  # each its own file, for equal rows would be made once
            clips.append(folder / f"clip-{len(clips)}.wav")
            shutil.copyfile(uri, clips[-1])
    (folder / "clips.jsonl").write_text("".join(json.dumps({"audio": str(clip), "language": "en"}) + "\n" for clip in clips))


def bare(kind: str, engine_name: str, source: str, out: str) -> None:
    """One bare loop in this process; prints the seconds from the first piece to the last file."""
    from transforms import codec
    from transforms.engine import Place, engine_class
    from transforms.options import AudioOptions
    from transforms.records import Audio, Piece, Result
    from transforms.settings import Settings

    operation = "synthesize" if engine_name == "kokoro" else "transcribe"
    settings = Settings()
    rows = [json.loads(line) for line in Path(source).read_text().splitlines()]
    Path(out).mkdir()
    if kind == "naive":
        _naive(engine_name, rows, Path(out), settings)
        return
    engine = engine_class(operation, engine_name)()
    engine.load(Place(settings.device, settings.workers, settings.models_dir))
    options: Any = engine.Options.parse({name: value for name, value in rows[0].items() if name in engine.Options.model_fields})

    def read(row: dict[str, Any]) -> dict[str, str | Audio]:
        if operation == "synthesize":
            return {"text": row["text"]}
        return {"audio": codec.decode(Path(row["audio"]), engine.rate_hz, engine.channels, 3600.0)}

    def some(start: int) -> None:
        pieces = [Piece(read(row), options, start + n) for n, row in enumerate(rows[start : start + AT_ONCE[engine_name]])]
        for index, outcome in enumerate(engine.run(pieces), start):
            assert isinstance(outcome, Result), outcome
            if operation == "synthesize":
                (Path(out) / f"{index}.wav").write_bytes(codec.encode(outcome.outputs["audio"], AudioOptions(format="wav")).data)
            else:
                (Path(out) / f"{index}.json").write_text(json.dumps(dict(outcome.fields)))

    began = time.perf_counter()
    with ThreadPoolExecutor(settings.workers) as pool:
        list(pool.map(some, range(0, len(rows), AT_ONCE[engine_name])))
    print(time.perf_counter() - began)


def _naive(engine_name: str, rows: list[dict[str, Any]], out: Path, settings: Any) -> None:
    """The library's own defaults, one item at a time."""
    from transforms import codec, models
    from transforms.options import AudioOptions

    if engine_name == "kokoro":
        import onnxruntime

        from transforms.engine import Place
        from transforms.engines.kokoro import Kokoro
        from transforms.records import Piece, Result

        class Plain(Kokoro):
            def _session(self, model_id: str) -> Any:
                if not self._sessions:
                    path = models.folder(model_id, settings.models_dir) / models.known(model_id).files[0].name
                    self._sessions[model_id] = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                return self._sessions[model_id]

        engine = Plain()
        engine.load(Place(settings.device, 1, settings.models_dir))
        options: Any = engine.Options.parse({"voice": rows[0]["voice"]})
        began = time.perf_counter()
        for index, row in enumerate(rows):
            (outcome,) = engine.run([Piece({"text": row["text"]}, options, index)])
            assert isinstance(outcome, Result)
            (out / f"{index}.wav").write_bytes(codec.encode(outcome.outputs["audio"], AudioOptions(format="wav")).data)
    else:
        from faster_whisper import WhisperModel

        model = WhisperModel(str(models.folder("whisper-base", settings.models_dir)), device="cpu", compute_type="int8")
        began = time.perf_counter()
        for index, row in enumerate(rows):
            segments, _ = model.transcribe(row["audio"])
            (out / f"{index}.json").write_text(json.dumps([segment.text for segment in segments]))
    print(time.perf_counter() - began)


def compare(engine_name: str, source: Path, folder: Path, pairs: int = PAIRS) -> list[list[str]]:
    """Pipeline, best and naive in turn, `pairs` times over. The window is from ready engine to last commit."""
    operation = "synthesize" if engine_name == "kokoro" else "transcribe"
    form = ["--format", "wav"] if operation == "synthesize" else []
    series = {name: Series() for name in ("pipeline", "best", "naive")}
    window: dict[str, list[float]] = {name: [] for name in series}
    for index in range(pairs):
        out = folder / f"{engine_name}-{index}"
        for name in series:
            if name == "pipeline":
                command = [
                    *WAVEMILL,
                    "run",
                    operation,
                    str(source),
                    "-o",
                    f"{out}-pipeline",
                    *form,
                    "--unit-items",
                    "8",
                    "--quiet",
                    "--json",
                ]
            else:
                command = [sys.executable, "-m", "benchmarks.engines", name, engine_name, str(source), f"{out}-{name}"]
            done = run(command)
            series[name].runs.append(done)
            window[name].append(json.loads(done.output)["work_seconds"] if name == "pipeline" else float(done.output.split()[-1]))
        print(engine_name, index, {name: f"{values[-1]:.1f}" for name, values in window.items()}, flush=True)
    rows = [
        [f"{engine_name}, {name}", spread(window[name]), spread(series[name].column("wall_s")), spread(series[name].column("cpu_s"))]
        for name in series
    ]
    for other in ("best", "naive"):
        work = spread(ratios(window[other], window["pipeline"]), 3)
        wall = spread(ratios(series[other].column("wall_s"), series["pipeline"].column("wall_s")), 3)
        cpu = spread(ratios(series[other].column("cpu_s"), series["pipeline"].column("cpu_s")), 3)
        rows.append([f"**throughput of the pipeline / {other}**", work, wall, cpu])
    return rows


def report(engine_name: str) -> str:
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as name:
        folder = Path(name)
        prepare(folder)
        rows = compare(engine_name, folder / ("texts.jsonl" if engine_name == "kokoro" else "clips.jsonl"), folder)
    return table(["run", "work window, s", "whole process, wall s", "whole process, CPU s"], rows) + "\n"


if __name__ == "__main__":
    bare(*sys.argv[1:5])
