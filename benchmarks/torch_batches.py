"""Several pieces at once against one by one, of the engines on torch: `.venv-engines/bin/python -m benchmarks.torch_batches [DEVICE]`.

Kokoro with its real weights; Chatterbox's loop of tokens at its published size with random ones, since its own are on the model hub
alone. On a processor both are held to one core, as a call of an engine is. Prints a table.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import ROOT, table
from transforms.engine import Place
from transforms.engines.chatterbox import BATCH as TEXTS
from transforms.engines.kokoro_torch import KokoroTorch
from transforms.pull import pull_all
from transforms.records import Piece, Result
from transforms.settings import Settings

SENTENCES, TOKENS = 4, 20


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    made = act()
    return time.perf_counter() - began, made


def kokoro(device: str) -> list[str]:
    settings, engine = Settings(), KokoroTorch()
    pull_all(engine.models(engine.Options()), settings)
    engine.load(Place(device, 1, settings.models_dir))
    lines = [json.loads(line)["text"] for line in (ROOT / "examples/story.jsonl").read_text().splitlines()][:SENTENCES]
    pieces = [Piece({"text": line}, engine.Options(), 0) for line in sorted(lines, key=len)]
    engine.run(pieces[:1])
    one_by_one, alone = timed(lambda: [engine.run([piece])[0] for piece in pieces])
    at_once, together = timed(lambda: engine.run(pieces))
    differences = [_level(_heard(one) - _heard(other)) - _level(_heard(other)) for one, other in zip(together, alone, strict=True)]
    same = f"as long, differing by {max(differences):.0f} dB at most"
    return [f"Kokoro, {len(pieces)} sentences", f"{one_by_one:.1f}", f"{at_once:.1f}", f"{one_by_one / at_once:.2f}", same]


def chatterbox(device: str) -> list[str]:
    import torch

    torch.manual_seed(0)
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.cond_enc import T3Cond

    from transforms import chatterbox_batches

    t3 = T3().eval().to(device)
    hp = t3.hp
    voice = {"speaker_emb": torch.randn(1, 256), "cond_prompt_speech_tokens": torch.randint(0, 6561, (1, 150))}
    drawn = {"temperature": 0.8, "cfg_weight": 0.5, "repetition_penalty": 1.2, "min_p": 0.05, "top_p": 1.0, "max_new_tokens": TOKENS}
    asked = []
    for letters in range(80, 80 + 15 * TEXTS, 15):
        text = torch.tensor([[hp.start_text_token, *torch.randint(1, 200, (letters,)).tolist(), hp.stop_text_token]])
        cond = T3Cond(emotion_adv=0.5 * torch.ones(1, 1, 1), **voice).to(device=device)
        asked.append({"t3_cond": cond, "text_tokens": text.to(device), **drawn})

    def draw(*indices: int) -> list[list[int]]:
        dice = [torch.Generator().manual_seed(index) for index in indices]
        with torch.inference_mode():
            return [one[0].tolist() for one in chatterbox_batches.draw(t3, [asked[index] for index in indices], dice)]

    draw(0)
    one_by_one, alone = timed(lambda: [draw(index)[0] for index in range(TEXTS)])
    at_once, together = timed(lambda: draw(*range(TEXTS)))
    same = f"{sum(one == other for one, other in zip(together, alone, strict=True))} of {TEXTS} with the same tokens"
    return [f"Chatterbox, {TOKENS} tokens of {TEXTS} texts", f"{one_by_one:.1f}", f"{at_once:.1f}", f"{one_by_one / at_once:.2f}", same]


def _heard(outcome: Any) -> np.ndarray:
    assert isinstance(outcome, Result)
    samples: np.ndarray = outcome.outputs["audio"].samples
    return samples


def _level(samples: np.ndarray) -> float:
    """In dB."""
    return 10 * float(np.log10(np.square(samples).mean()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    where = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    print(table(["", "one by one, s", "at once, s", "ratio", "made"], [kokoro(where), chatterbox(where)]))
