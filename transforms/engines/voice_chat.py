"""A spoken turn by words: heard, answered by a language model, and the answer spoken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from transforms import chat, sentences, steps
from transforms.chain import Chain, Stage, stage
from transforms.engines.cascade import listen
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Outcome, Piece, Result


class VoiceChat(Chain):
    """Recognizer, language model and voice, each an engine of its own operation."""

    name = "cascade"
    operation = "chat"
    version = 1
    Options = chat.Options
    rate_hz = 16000
    cost_s = 2.0

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        assert isinstance(options, chat.Options)
        yield stage("transcribe", options.stt, language=options.language)
        messages = [message.model_dump() for message in options.messages]
        yield stage("complete", options.llm, system=options.system or None, messages=messages or None)
        yield stage("synthesize", options.tts, voice=options.voice or None, language=options.language)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._answer)

    def _answer(self, piece: Piece) -> Outcome:
        hear, answer, speak = self.stages(piece.options)
        said, language = str(piece.inputs.get("text", "")).strip(), piece.options.language
        if "audio" in piece.inputs:
            heard = listen(self, hear, piece).fields
            said, language = heard["text"].strip(), language or heard["language"]
            if not said:
                raise WavemillError("empty_text", "nothing is said in the audio", "audio")
        told = self.work(answer, piece.seed, {"text": said})
        if not sentences.spoken(told.fields["text"]):
            raise WavemillError("engine_error", f"complete: {answer.engine.name} answered no words: {told.fields['text'][:100]!r}")
        options = speak.options.model_copy(update={} if "language" in piece.options.tts else {"language": language})
        spoken = self.work(dataclasses.replace(speak, options=options), piece.seed, {"text": told.fields["text"]})
        fields = {"text": told.fields["text"], "source_text": said, "language": language}
        fields |= {name: spoken.fields[name] for name in ("provenance", "watermark") if name in spoken.fields}
        fields |= {name: told.fields[name] for name in ("finish_reason",) if name in told.fields}
        return Result(fields, {"audio": spoken.outputs["audio"]})
