"""A real CTranslate2 translation model of a few thousand random numbers, with a SentencePiece model trained on a few words."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["hello world how are you", "hola mundo como estas", "the boat is late", "el barco llega tarde", "good morning we wait for it here"]
WIDTH, LAYERS, INNER = 16, 2, 32


@cache
def made() -> Path:
    """One such model for all tests, in a folder that goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="wavemill-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make(folder)
    return folder


def make(folder: Path, more: tuple[str, ...] = (), names: tuple[str, ...] = ("source.spm", "target.spm"), seed: int = 0) -> None:
    """Write the model, as OPUS-MT's are or with SentencePiece models of other names; `more` are tokens of its vocabulary."""
    import ctranslate2
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 20), model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    for name in names:
        (folder / name).write_bytes(model.getvalue())
    spelling = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [spelling.id_to_piece(n) for n in range(spelling.get_piece_size()) if not (spelling.is_control(n) or spelling.is_unknown(n))]
    vocabulary = ["</s>", "<unk>", *pieces, *more, "<pad>"]
    spec = ctranslate2.specs.TransformerSpec.from_config(LAYERS, 2)
    _fill(spec, len(vocabulary), np.random.default_rng(seed))
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.bos_token = spec.config.decoder_start_token = "<pad>"
    spec.config.eos_token, spec.config.unk_token = "</s>", "<unk>"
    spec.validate()
    spec.optimize()
    spec.save(str(folder))


def _fill(spec: Any, size: int, random: np.random.Generator) -> None:
    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(0.3)

    def linear(layer: Any, outputs: int, inputs: int = WIDTH) -> None:
        layer.weight, layer.bias = draw(outputs, inputs), np.zeros(outputs, np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(layer: Any) -> None:
        norm(layer.layer_norm)
        shapes = [3 * WIDTH, WIDTH] if len(layer.linear) == 2 else [WIDTH, 2 * WIDTH, WIDTH]
        for part, outputs in zip(layer.linear, shapes, strict=True):
            linear(part, outputs)

    for side in (spec.encoder, spec.decoder):
        side.scale_embeddings = True
        for table in side.embeddings if isinstance(side.embeddings, list) else [side.embeddings]:
            table.weight = draw(size, WIDTH)
        side.position_encodings.encodings = draw(600, WIDTH)
        norm(side.layer_norm)
        for layer in side.layer:
            attention(layer.self_attention)
            if side is spec.decoder:
                attention(layer.attention)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, INNER)
            linear(layer.ffn.linear_1, WIDTH, INNER)
    linear(spec.decoder.projection, size)
