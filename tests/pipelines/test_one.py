"""One or a few items at once: the steps in process, and where their outputs go."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, strategies as st

import wavemill
from pipelines import targets
from pipelines.one import run_items, stream_speech
from transforms import identity
from transforms.codec import decode
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.records import Encoded, Failure, Input, Piece
from transforms.settings import Settings

SETTINGS = Settings(workers=2, pull=False)


def options(operation: str = "synthesize", **values: Any) -> Any:
    return engine_class(operation, "echo").Options.parse(values)


def speak(texts: Sequence[str], on_pieces: Any = None, **values: Any) -> list[Any]:
    inputs = [{"text": Input("text", text)} for text in texts]
    return list(run_items("synthesize", "echo", options(format="wav", **values), inputs, SETTINGS, on_pieces))


def call(*args: str | Path, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(wavemill.root, [str(arg) for arg in args], input=input)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one clip in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.wav").write_bytes(speak(["a talk"])[0].outputs["audio"].data)
    return tmp_path


@given(st.lists(st.sampled_from(["hello", "bad", "", "two. sentences."]), max_size=6))
def test_there_is_one_outcome_for_each_input_in_order_and_failures_are_values(texts: list[str]) -> None:
    outcomes = speak(texts, fail_on="bad")
    codes = {"bad": "engine_error", "": "empty_text"}
    assert [outcome.code if isinstance(outcome, Failure) else None for outcome in outcomes] == [codes.get(text) for text in texts]
    for outcome in outcomes:
        if not isinstance(outcome, Failure):
            assert isinstance(outcome.outputs["audio"], Encoded)


def test_an_item_has_the_identity_it_has_in_a_run() -> None:
    seen: list[Piece] = []
    speak(["hello"], lambda pieces, seconds: seen.extend(pieces))
    engine = engine_class("synthesize", "echo")()
    key = identity.key(identity.prefix(engine, options(format="wav")), {"text": Input("text", "hello")})
    assert [piece.seed for piece in seen] == [identity.seed(key, 0)]


def test_options_that_no_item_can_work_with_are_refused_before_any_work() -> None:
    with pytest.raises(WavemillError) as caught:
        speak(["hello"], voice="nobody")
    assert (caught.value.code, caught.value.field) == ("bad_usage", "voice")


def test_weights_that_are_not_here_are_named_when_nothing_may_be_pulled(tmp_path: Path) -> None:
    settings = Settings(pull=False, models_dir=tmp_path)
    model = engine_class("synthesize", "kokoro").Options()
    with pytest.raises(WavemillError) as caught:
        list(run_items("synthesize", "kokoro", model, [{"text": Input("text", "hello")}], settings))
    assert caught.value.code == "model_missing"


def test_closing_the_iterator_stops_the_work_and_leaves_no_thread() -> None:
    inputs = [{"text": Input("text", "hello")}] * 50
    outcomes = run_items("synthesize", "echo", options(format="wav", delay_s=0.05), inputs, SETTINGS)
    next(outcomes)
    outcomes.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_a_text_becomes_the_file_that_is_named_in_the_format_of_its_suffix(here: Path) -> None:
    answer = call("synthesize", "Hello there", "-e", "echo", "-o", "hello.flac")
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert "hello.flac: 0.1 s of audio" in answer.stderr
    assert (here / "hello.flac").read_bytes()[:4] == b"fLaC"


def test_without_a_name_the_output_takes_a_free_one_and_says_so(here: Path) -> None:
    for name in ("synthesize.mp3", "synthesize-2.mp3"):
        assert name in call("synthesize", "Hello there", "-e", "echo").stderr
        assert (here / name).exists()


def test_text_comes_from_standard_input_and_audio_goes_to_standard_output(here: Path) -> None:
    answer = call("synthesize", "-", "-e", "echo", "--format", "wav", "-o", "-", input="Hello there")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout_bytes == speak(["Hello there"])[0].outputs["audio"].data
    (here / "story.txt").write_text("Hello there")
    assert "story.wav" in call("synthesize", "--file", "story.txt", "-e", "echo", "--format", "wav").stderr
    assert (here / "story.wav").read_bytes() == answer.stdout_bytes


def test_a_transcript_is_printed_or_written_in_the_format_of_its_suffix(here: Path) -> None:
    answer = call("transcribe", "talk.wav", "-e", "echo")
    assert (answer.stdout, answer.stderr) == ("0.100 seconds, peak 0.30\n", "")
    starts = {"srt": "1\n00:00:00,000 -->", "vtt": "WEBVTT", "tsv": "start\tend\ttext", "json": '{"text"', "txt": "0.100 seconds"}
    for suffix, start in starts.items():
        assert call("transcribe", "talk.wav", "-e", "echo", "-o", f"talk.{suffix}").exit_code == 0
        assert (here / f"talk.{suffix}").read_text().startswith(start)
    assert call("transcribe", "talk.wav", "-e", "echo", "-o", "-", "--formats", "srt").stdout.startswith(starts["srt"])
    assert call("transcribe", "-", "-e", "echo", input=(here / "talk.wav").read_bytes()).stdout == answer.stdout


def test_several_files_become_one_each_in_a_folder_and_a_bad_one_does_not_stop_the_others(here: Path) -> None:
    (here / "b.wav").write_bytes(b"")
    (here / "c.wav").write_bytes((here / "talk.wav").read_bytes())
    answer = call("transcribe", "*.wav", "-e", "echo", "-o", "texts", "--json")
    assert answer.exit_code == 1
    report = json.loads(answer.stdout)
    assert (report["done"], report["failed"]) == (2, 1)
    assert [item.get("code") for item in report["items"]] == ["audio_empty", None, None]
    assert sorted(path.name for path in (here / "texts").iterdir()) == ["c.txt", "talk.txt"]
    assert "audio_empty: " in answer.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["synthesize", "-e", "echo"], "give one of TEXT"),
        (["synthesize", "hi", "--file", "talk.wav", "-e", "echo"], "give one of TEXT"),
        (["synthesize", "--file", "talk.wav", "-e", "echo"], "not UTF-8"),
        (["synthesize", "hi", "-e", "echo", "-o", "hi.doc"], ".flac"),
        (["synthesize", "hi", "-e", "echo", "-o", "hi.wav", "--format", "flac"], "the name says wav"),
        (["synthesize", "hi", "-e", "echo", "-o", "-", "--json"], "standard output"),
        (["transcribe", "talk.wav", "-e", "echo", "-o", "talk.doc"], ".srt"),
        (["transcribe", "talk.wav", "-e", "echo", "--formats", "doc"], "formats"),
        (["transcribe", "talk.wav", "other.wav", "-e", "echo"], "-o DIR"),
        (["transcribe", "talk.wav", "other.wav", "-e", "echo", "-o", "both.srt"], "one file"),
        (["transcribe", "talk.wav", "deep/TALK.mp3", "-e", "echo", "-o", "texts"], "both be written to"),
        (["transcribe", "*.mp3", "-e", "echo", "-o", "texts"], "no file matches"),
        (["transcribe", ".", "-e", "echo"], "is a folder"),
    ],
)
def test_bad_usage_exits_2_before_anything_is_written(args: list[str], said: str, here: Path) -> None:
    answer = call(*args)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert [path.name for path in here.iterdir()] == ["talk.wav"]


@pytest.mark.parametrize(("args", "code"), [(["synthesize", ""], "empty_text"), (["transcribe", "gone.wav"], "input_not_found")])
def test_a_single_item_that_fails_exits_1_with_its_code(args: list[str], code: str, here: Path) -> None:
    answer = call(*args, "-e", "echo")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"wavemill: {code}: ")


names = st.lists(st.from_regex(r"([a-zA-Z]{1,2}/)?[a-cA-C]\.(mp3|wav)", fullmatch=True), min_size=1, max_size=5)


@given(names, st.sampled_from([[], ["srt"], ["srt", "json"]]))
def test_no_two_outputs_in_a_folder_ever_have_one_name(names: list[str], formats: list[str]) -> None:
    stems = [Path(name).stem.casefold() for name in names]
    try:
        found = targets.for_text(names, "folder/", formats)
    except click.UsageError:
        assert len(set(stems)) < len(stems)
    else:
        assert len({target.path for target in found}) == len(names) * max(len(formats), 1)


def test_a_translation_is_printed_and_nothing_else_is(here: Path) -> None:
    answer = call("translate-text", "Hello.\n\nAgain.", "--to", "es", "-e", "echo")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "[es] Hello.\n\n[es] Again.\n", "")
    assert [path.name for path in here.iterdir()] == ["talk.wav"]


def test_a_translation_becomes_the_file_that_is_named(here: Path) -> None:
    (here / "story.txt").write_text("Hello.\n")
    assert call("translate-text", "--file", "story.txt", "--to", "es", "-e", "echo", "-o", "story.es.txt").exit_code == 0
    assert (here / "story.es.txt").read_text() == "[es] Hello.\n"
    assert call("translate-text", "Hello", "--to", "es", "-e", "echo", "-o", "hello.json").exit_code == 0
    assert json.loads((here / "hello.json").read_text()) == {"text": "[es] Hello", "language": "es", "source": None}


def test_a_text_has_no_captions(here: Path) -> None:
    answer = call("translate-text", "Hello", "--to", "es", "-e", "echo", "-o", "hello.srt")
    assert answer.exit_code == 2
    assert "must end in .txt, .json" in answer.stderr


def test_a_translation_into_nothing_is_refused_by_its_option(here: Path) -> None:
    answer = call("translate-text", "Hello", "-e", "echo")
    assert answer.exit_code == 2
    assert "bad_usage: to: into which language?" in answer.stderr


def test_a_message_is_answered_with_the_conversation_before_it(here: Path) -> None:
    turns = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
    answer = call("complete", "-", "--system", "Be brief.", "--messages", turns, "-e", "echo", input="How are you?\n")
    assert (answer.exit_code, answer.stdout) == (0, "4 messages, the last: How are you?\n")


def test_a_report_of_a_text_holds_the_text(here: Path) -> None:
    answer = call("complete", "Hi", "-e", "echo", "--json")
    assert json.loads(answer.stdout)["items"][0]["text"] == "1 messages, the last: Hi"


def stream(text: str, settings: Settings = SETTINGS, **values: Any) -> Any:
    return stream_speech("echo", options(**values), {"text": Input("text", text)}, settings)


@given(
    st.lists(
        st.sampled_from(["A long sentence that stands alone here.", "[pause:0.2s]", "Another one, as long as the first one is."]),
        min_size=1,
    )
)
def test_what_is_streamed_are_the_samples_of_the_whole(parts: list[str]) -> None:
    text = " ".join(parts)
    (whole,) = speak([text])
    if isinstance(whole, Failure):
        with pytest.raises(WavemillError) as caught:
            list(stream(text, format="wav"))
        assert caught.value.code == whole.code
        return
    streamed = decode(b"".join(stream(text, format="wav")), None, None, 100.0)
    assert streamed.samples.tobytes() == decode(whole.outputs["audio"].data, None, None, 100.0).samples.tobytes()


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg", "opus", "aac"])
def test_the_first_sentence_can_be_heard_before_the_last_is_spoken(format: str) -> None:
    text = " ".join(f"This is the sentence with the number {n}, and it is long enough to stand alone." for n in range(200))
    spoken: list[str] = []

    class Counting(engine_class("synthesize", "echo")):  # type: ignore[misc]
        def run(self, pieces: Sequence[Piece]) -> Any:
            spoken.extend(str(piece.inputs["text"]) for piece in pieces)
            return super().run(pieces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.one.engine_class", lambda *names: Counting)
        parts = stream(text, format=format, piece_s=1.0)
        heard = b""
        while len(heard) < 2000:
            heard += next(parts)
        assert len(spoken) < 20
        first = decode(heard, None, None, 100.0) if format in ("wav", "aac") else None
        assert first is None or first.duration_s > 0.02
        parts.close()
        assert len(spoken) < 25


def test_a_piece_that_fails_ends_the_stream_with_its_error() -> None:
    text = "This one is good and long enough to stand alone. " * 10 + "This one is bad and long enough to stand alone, as the others."
    with pytest.raises(WavemillError, match="told to fail"):
        list(stream(text, fail_on="bad"))


@pytest.mark.parametrize(
    ("values", "code"), [({"loudness": -16}, "bad_usage"), ({"format": "m4a"}, "bad_option"), ({"voice": "x"}, "bad_usage")]
)
def test_what_needs_the_whole_cannot_be_streamed(values: dict[str, Any], code: str) -> None:
    with pytest.raises(WavemillError) as caught:
        list(stream("Hello.", **values))
    assert caught.value.code == code


def test_a_stream_goes_to_a_file_or_to_standard_output(here: Path) -> None:
    assert call("synthesize", "Hello.", "-e", "echo", "--stream", "-o", "a.mp3").exit_code == 0
    answer = call("synthesize", "Hello.", "-e", "echo", "--stream", "-o", "-", "--format", "mp3")
    assert answer.exit_code == 0
    assert (here / "a.mp3").read_bytes() == answer.stdout_bytes
    assert call("synthesize", "Hello.", "-e", "echo", "--stream", "-o", "s3://b/a.mp3").exit_code == 2


def test_a_turn_of_a_conversation_is_a_file_or_a_text() -> None:
    answer = call("chat")
    assert answer.exit_code == 2
    assert "give FILE..., or --text" in answer.stderr


@pytest.mark.parametrize(
    ("pair", "says"),
    [("tts.engine=nobody", "nobody"), ("tts.nothing=1", "nothing"), ("nothing.engine=1", "no such option"), ("tts.=1", "no such option")],
)
def test_an_option_of_a_stage_is_set_by_its_dotted_name(here: Path, pair: str, says: str) -> None:
    planning = ("plan", "convert-voice", "talk.wav", "-o", "out", "--voice", "en_US-joe-medium")
    answer = call(*planning, "-O", "tts.engine=piper", "-O", "stt.model=tiny.en")
    assert (answer.exit_code, answer.stderr) == (0, "")
    answer = call(*planning, "-O", pair)
    assert answer.exit_code == 2
    assert says in answer.stderr.replace("has such an option", "no such option")


@pytest.mark.parametrize("flags", [("--loudness", "-16"), ("--format", "m4a"), ("-O", "fail_on=Hello"), ("--json",)])
def test_a_stream_that_is_refused_leaves_the_file_that_is_there(here: Path, flags: tuple[str, ...]) -> None:
    (here / "keep.mp3").write_bytes(b"precious")
    assert call("synthesize", "Hello.", "-e", "echo", "--stream", "-o", "keep.mp3", *flags).exit_code != 0
    assert (here / "keep.mp3").read_bytes() == b"precious"
