"""Chatterbox's networks for several pieces at once, each with a generator of its own, and the same as it is alone.

The library's T3 draws the tokens of one text, one a step, up to a thousand of them; here the texts take their steps together. Its
decoder of tokens takes a batch, but for the noise that it draws and for one layer that looks over a piece's end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from chatterbox.models.s3gen.s3gen import S3Token2Mel
from chatterbox.models.s3gen.utils.mask import make_pad_mask
from chatterbox.models.s3tokenizer import S3_SR
from torch import Generator, Tensor
from torch.nn.functional import pad
from torchaudio.functional import resample
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from transforms.records import Audio

STEPS = 10
"""Of the decoder towards a spectrum, as many as the library takes by itself."""
Asked = Mapping[str, Any]
"""What the library asks of a T3 for one text: the arguments of its `inference`, or of its `inference_turbo`."""


def draw(t3: Any, asked: Sequence[Asked], generators: Sequence[Generator]) -> list[Tensor]:
    """Of each text its tokens, (1, n), the end included; the generators are the processor's.

    What is asked may differ in text and voice. Together with others a text's tokens are those it has alone, unless float rounding moves
    a draw over the border between two.
    """
    given, device = asked[0], t3.device
    weight = given.get("cfg_weight", 0.0)
    prompts = [_prompt(t3, one) for one in asked]
    ways, longest = len(prompts[0]), max(prompt.shape[1] for prompt in prompts)
    x = torch.cat([pad(prompt, (0, 0, longest - prompt.shape[1], 0)) for prompt in prompts])
    heard = torch.cat([torch.arange(longest, device=device) >= longest - prompt.shape[1] for prompt in prompts for _ in range(ways)])
    heard = heard.view(len(x), longest).long()
    likely, past = _processors(t3, given), None
    ids = torch.full((len(asked), 1), t3.hp.start_speech_token, device=device)
    done, live, most = list(ids), list(range(len(asked))), given.get("max_new_tokens", 1001)
    for step in range(most):
        known = {} if bool(heard.all()) else {"attention_mask": heard, "position_ids": (heard.cumsum(1) - 1).clamp(min=0)[:, -x.shape[1] :]}
        made = t3.tfmr(inputs_embeds=x, past_key_values=past, use_cache=True, **known)
        past = made.past_key_values
        scores = t3.speech_head(made.last_hidden_state[:, -1:])[:, 0].view(len(live), ways, -1)
        logits = scores[:, 0] + weight * (scores[:, 0] - scores[:, 1]) if ways == 2 else scores[:, 0]
        chances = likely(ids[:, 1:] if t3.is_gpt and step else ids, logits).softmax(-1).cpu()
        new = torch.stack([chance.multinomial(1, generator=generators[index]) for chance, index in zip(chances, live, strict=True)])
        ids = torch.cat([ids, new.to(device)], 1)
        ended = new[:, 0] == t3.hp.stop_speech_token
        if t3.is_gpt and not step:
            ended[:] = False  # turbo does not end with its first token
        for index, one in zip(live, ids, strict=True):
            done[index] = one[None, 1:]
        stay = (~ended).nonzero()[:, 0]
        if not len(stay):
            break
        if len(stay) < len(live):
            rows = (stay[:, None] * ways + torch.arange(ways)).view(-1).to(device)
            past.batch_select_indices(rows)
            ids, heard, live = ids[stay.to(device)], heard[rows], [live[index] for index in stay.tolist()]
        x = t3.speech_emb(ids[:, -1:])
        if t3.speech_pos_emb is not None:
            x = x + t3.speech_pos_emb.get_fixed_embedding(step + 1)
        x, heard = x.repeat_interleave(ways, 0), pad(heard, (0, 1), value=1)
    return done


def _prompt(t3: Any, given: Asked) -> Tensor:
    """Voice, text and the start of speech, of shape (1, n, channels); twice, the second time without the text, where that guides.

    The start comes twice to all but turbo, as it did when they were trained.
    """
    weight = given.get("cfg_weight", 0.0)
    text = given["text_tokens"][:1].repeat(2 if weight else 1, 1)
    start = torch.full_like(text[:, :1], t3.hp.start_speech_token)
    embedded, _ = t3.prepare_input_embeds(t3_cond=given["t3_cond"], text_tokens=text, speech_tokens=start, cfg_weight=weight)
    if t3.is_gpt:
        return embedded
    return torch.cat([embedded, t3.speech_emb(start) + t3.speech_pos_emb.get_fixed_embedding(0)], 1)


def _processors(t3: Any, given: Asked) -> LogitsProcessorList:
    """The library's own choice of what makes some tokens likelier, in its order."""
    heat, repeated = float(given["temperature"]), RepetitionPenaltyLogitsProcessor(float(given["repetition_penalty"]))
    cooled = [TemperatureLogitsWarper(heat)] if heat != 1.0 else []
    if t3.is_gpt:
        return LogitsProcessorList([*cooled, TopKLogitsWarper(given["top_k"]), TopPLogitsWarper(given["top_p"]), repeated])
    return LogitsProcessorList([repeated, *cooled, MinPLogitsWarper(given["min_p"]), TopPLogitsWarper(given["top_p"])])


def decode(s3gen: Any, recordings: Sequence[Audio], voice: Any, generators: Sequence[Generator]) -> list[Tensor]:
    """Of each recording its spectrum in a voice, (1, 80, frames), as the converter of the library finds it; noise is drawn of its generator."""
    heard = [resample(torch.tensor(one.samples), orig_freq=one.rate_hz, new_freq=S3_SR)[0] for one in recordings]
    tokens, lengths = s3gen.tokenizer(heard)
    flow = s3gen.flow
    prompt, prompted = voice["prompt_token"].shape[1], voice["prompt_feat"].shape[1]
    ends = (prompt + lengths).tolist()
    noise = [torch.randn(1, flow.output_size, flow.token_mel_ratio * end, generator=one) for end, one in zip(ends, generators, strict=True)]
    longest = max(one.shape[-1] for one in noise)
    filled = torch.cat([pad(one, (0, longest - one.shape[-1])) for one in noise]).to(s3gen.device)
    with _ending(flow.encoder.pre_lookahead_layer, prompt + lengths):
        spectra = S3Token2Mel.forward(
            s3gen, tokens, None, None, voice, n_cfm_timesteps=STEPS, finalize=True, speech_token_lens=lengths, noised_mels=filled
        )
    return [spectrum[None, :, : own.shape[-1] - prompted] for spectrum, own in zip(spectra, noise, strict=True)]


def sounded(s3gen: Any, spectrum: Tensor, frames: int) -> Tensor:
    """So many samples, (1, frames), of a spectrum, faded in as the library does it against what spills over from the prompt."""
    samples, _ = s3gen.hift_inference(spectrum)
    samples[:, : len(s3gen.trim_fade)] *= s3gen.trim_fade
    return pad(samples, (0, max(0, frames - samples.shape[1])))[:, :frames]


@contextmanager
def _ending(layer: Any, ends: Tensor) -> Iterator[None]:
    """The one layer of the decoder that looks ahead without a mask, told where each row of (rows, steps, channels) ends."""

    def silenced(_: Any, given: tuple[Tensor]) -> tuple[Tensor]:
        return (given[0].masked_fill(make_pad_mask(ends, given[0].shape[1])[:, :, None], 0.0),)

    hook = layer.register_forward_pre_hook(silenced)
    try:
        yield
    finally:
        hook.remove()
