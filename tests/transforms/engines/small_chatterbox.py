"""Chatterbox's models with small random weights, written as the files that the hub has; read only inside `shrunk`."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from transforms import models
from transforms.pull import pull
from transforms.settings import Settings
from transforms.speakers import MODEL

ROWS = ("chatterbox", "chatterbox-turbo", "chatterbox-multilingual", "chatterbox-vc")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.,!?-"
ENDS = 40
"""How many tokens are as likely as the end, so that speech ends after about that many: at 25 a second."""


@contextmanager
def shrunk() -> Iterator[None]:
    """The library's networks with few and narrow layers: its sizes are constants."""
    from chatterbox.models.s3gen import s3gen
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS
    from s3tokenizer import model_v2

    def fewer(cls: Any, **few: Any) -> Any:
        return lambda **given: cls(**given | few)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LLAMA_CONFIGS, "Llama_520M", LLAMA_CONFIGS["Llama_520M"] | {"num_hidden_layers": 1, "intermediate_size": 64})
        patch.setitem(
            LLAMA_CONFIGS, "GPT2_medium", LLAMA_CONFIGS["GPT2_medium"] | {"n_embd": 64, "hidden_size": 64, "n_layer": 1, "n_head": 2}
        )
        patch.setattr(s3gen, "ConditionalDecoder", fewer(s3gen.ConditionalDecoder, n_blocks=1, num_mid_blocks=1))
        patch.setattr(s3gen, "UpsampleConformerEncoder", fewer(s3gen.UpsampleConformerEncoder, num_blocks=1, linear_units=64))
        small = model_v2.ModelConfig(n_audio_state=64, n_audio_head=1, n_audio_layer=1)
        patch.setattr(model_v2.S3TokenizerV2.__init__, "__defaults__", (small,))
        yield


@contextmanager
def rows(folder: Path) -> Iterator[None]:
    """Every model, each a row of the table with the files its own weights have; the speaker encoder; and the library shrunk to them."""
    with pytest.MonkeyPatch.context() as patch, shrunk():
        for id in ROWS:
            row = dataclasses.replace(models.known(id), hub=None, by_hand="made by this test")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the library's own
                write(folder / id, id)
            patch.setitem(models.MODELS, id, row)
            pull(id, Settings(models_dir=folder))
        (folder / MODEL).symlink_to(pull(MODEL, Settings()))
        yield


def write(folder: Path, row: str) -> None:
    """The files of a row of the weights table. Needs `shrunk`."""
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.t3_config import T3Config
    from chatterbox.models.voice_encoder import VoiceEncoder
    from safetensors.torch import save_file

    def save(model: Any, *names: str) -> None:
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        for name in names:
            torch.save(state, folder / name) if name.endswith(".pt") else save_file(state, folder / name)

    folder.mkdir(parents=True)
    torch.manual_seed(len(row))
    if row == "chatterbox-turbo":
        hp = T3Config(text_tokens_dict_size=50276)
        hp.llama_config_name, hp.speech_tokens_dict_size, hp.input_pos_emb = "GPT2_medium", 6563, None
        hp.speech_cond_prompt_len, hp.use_perceiver_resampler, hp.emotion_adv = 375, False, False
        save(_ending(T3(hp)), "t3_turbo_v1.safetensors")
        save(S3Gen(meanflow=True), "s3gen_meanflow.safetensors")
        save(VoiceEncoder(), "ve.safetensors")
        _write_gpt2(folder)
    elif row == "chatterbox-multilingual":
        save(_ending(T3(T3Config.multilingual())), "t3_mtl23ls_v2.safetensors")
        save(S3Gen(), "s3gen.pt")
        save(VoiceEncoder(), "ve.pt")
        _write_letters(folder / "grapheme_mtl_merged_expanded_v1.json", ("[en]", "[de]", "[ja]"))
        (folder / "Cangjie5_TC.json").write_text("[]")
    else:
        save(S3Gen(), "s3gen.safetensors")
    if row == "chatterbox":
        save(_ending(T3()), "t3_cfg.safetensors")
        save(VoiceEncoder(), "ve.safetensors")
        _write_letters(folder / "tokenizer.json")
    _write_voice(folder / "conds.pt", prompt=375 if row == "chatterbox-turbo" else 150)


def _ending(t3: Any) -> Any:
    """The network with its first channel always loud, by which the end and a few tokens are far likelier than all others."""
    import torch

    with torch.no_grad():
        t3.speech_emb.weight[:, 0] = 30.0
        chosen = torch.randperm(6561)[:ENDS]
        t3.speech_head.weight[:, 0] = 0.0
        t3.speech_head.weight[torch.cat([chosen, torch.tensor([t3.hp.stop_speech_token])]), 0] = 1.0
    return t3


def _write_voice(path: Path, prompt: int) -> None:
    import torch

    gen = {
        "prompt_token": torch.randint(0, 6561, (1, 100)),
        "prompt_token_len": torch.tensor([100]),
        "prompt_feat": torch.randn(1, 200, 80),
        "prompt_feat_len": None,
        "embedding": torch.randn(1, 192),
    }
    speaker = torch.nn.functional.normalize(torch.randn(1, 256))
    t3 = {
        "speaker_emb": speaker,
        "cond_prompt_speech_tokens": torch.randint(0, 6561, (1, prompt)),
        "emotion_adv": 0.5 * torch.ones(1, 1, 1),
    }
    torch.save({"t3": t3, "gen": gen}, path)


def _write_letters(path: Path, more: tuple[str, ...] = ()) -> None:
    """A tokenizer of letters whose start is 255 and whose end is 0, as the library's."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = {"[STOP]": 0, "[UNK]": 1, "[SPACE]": 2, "[START]": 255}
    known |= {symbol: number for number, symbol in enumerate((*more, *LETTERS), 3)}
    tokenizer = Tokenizer(models.BPE(known, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["[STOP]", "[UNK]", "[SPACE]", "[START]", *more])
    tokenizer.save(str(path))


def _write_gpt2(folder: Path) -> None:
    from transformers.models.gpt2.tokenization_gpt2 import GPT2Tokenizer

    letters = {symbol: number for number, symbol in enumerate((*LETTERS, "Ġ"))}
    (folder / "vocab.json").write_text(json.dumps(letters | {"<|endoftext|>": 50256}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "added_tokens.json").write_text("{}")
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": GPT2Tokenizer.__name__, "model_max_length": 1024}))
