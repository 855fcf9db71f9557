"""`wavemill stream transcribe --live` against a real Kafka: every word of a session is final once, whatever happens to its workers."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.sessions import TEXTS, LiveStream, all_said, broken, chunk, codes, cut, finals, speak, words_of
from benchmarks.topics import wait_for
from sinks import live as messages
from sources import chunks
from transforms.live import RATE_HZ
from transforms.pull import pull
from transforms.settings import Settings


@pytest.fixture(scope="session")
def spoken() -> dict[str, np.ndarray]:
    pull("whisper-tiny.en", Settings())
    return dict(zip(TEXTS, speak(TEXTS), strict=True))


@pytest.fixture
def live(whole_kafka: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LiveStream]:
    made = LiveStream(whole_kafka, f"l{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}", tmp_path)
    yield made
    made.producer.close()
    for worker in made.workers:
        if worker.poll() is None:
            made.kill(worker)


def test_words_are_partial_while_they_are_spoken_and_final_once(live: LiveStream, spoken: dict[str, np.ndarray]) -> None:
    live.listen()
    live.say(*cut("one", spoken[TEXTS[0]]))
    found = live.heard(all_said({"one": spoken[TEXTS[0]]}))
    assert codes(found) == {}
    assert broken(found) == []
    assert {one["record_key"] for one in found} == {b"one"}
    wrong = set(finals(found)["one"]) ^ set(words_of(TEXTS[0]))
    assert len(wrong) <= 3 and abs(len(finals(found)["one"]) - len(words_of(TEXTS[0]))) <= 1, finals(found)
    first_final = next(index for index, one in enumerate(found) if one["kind"] == "final")
    assert first_final > 0, "there was a partial before"
    for one in found:
        messages.Heard.model_validate({name: one[name] for name in messages.Heard.model_fields})


def test_chunks_that_are_late_missing_doubled_or_broken_are_told_and_the_rest_is_heard(
    live: LiveStream, spoken: dict[str, np.ndarray]
) -> None:
    live.listen("--idle", "5")
    samples = spoken[TEXTS[0]]
    given = cut("one", samples)
    given[2], given[3] = given[3], given[2]
    given.insert(6, given[5])
    quiet = len(given) - 3  # in the silence at the end
    del given[quiet]
    live.say(*given[:8], b"\xff no JSON", key="one")
    live.say({**given[8], "colour": "blue"}, {**chunk("two", 0, None, True), "audio": {"data": base64.b64encode(b"no audio").decode()}})
    live.say(*given[8:])
    live.say(given[-1])
    found = live.heard(lambda found: all_said({"one": samples})(found) and codes(found)["chunk_missing"] == 1)
    assert codes(found) == {"chunk_missing": 1, "chunk_refused": 2, "bad_message": 2, "bad_audio": 1}
    refused = next(one for one in found if one.get("code") == "chunk_refused")
    assert json.loads(base64.b64decode(refused["original"]))["seq"] == given[5]["seq"]
    assert refused["id"] == "one" and refused["record_key"] == b"one"
    assert len(set(finals(found)["one"]) ^ set(words_of(TEXTS[0]))) <= 3
    assert broken(found) == []


@pytest.mark.slow
def test_a_worker_killed_at_random_moments_loses_and_doubles_no_word(live: LiveStream, spoken: dict[str, np.ndarray]) -> None:
    sessions = {f"s{index}": spoken[text] for index, text in enumerate(TEXTS)}
    given = [cut(name, samples) for name, samples in sessions.items()]
    unbroken = LiveStream(live.servers, f"{live.input}-whole", live.folder)
    for one in (live, unbroken):  # what is said together stands side by side in the topic
        one.say(*(chunk for turn in range(max(map(len, given))) for chunks in given for chunk in chunks[turn : turn + 1]))
    unbroken.listen("--idle", "600")
    whole = unbroken.heard(all_said(sessions))
    unbroken.stop(unbroken.workers[0])
    unbroken.producer.close()
    moments, kills = random.Random(7), 0
    worker = live.listen("--idle", "600", "--worker", "one")
    for _ in range(4):
        before = live.progress()
        wait_for(lambda before=before: live.progress() > before or all_said(sessions)(live.heard(lambda found: True)))
        time.sleep(moments.uniform(0.0, 0.6))
        live.kill(worker)
        kills += 1
        worker = live.listen("--idle", "600", "--worker", "one")
    found = live.heard(all_said(sessions))
    assert broken(found) == []
    assert codes(found) == {}
    expected = finals(whole)
    for name, words in finals(found).items():  # where it was cut, another window may hear a word otherwise
        changed = jiwer.process_words(" ".join(expected[name]), " ".join(words))
        assert changed.insertions + changed.deletions <= 1 and changed.substitutions <= 2, (name, words)
    assert worker.poll() is None
    assert kills == 4


@pytest.mark.slow
def test_two_workers_share_the_sessions_and_one_that_leaves_hands_them_over(live: LiveStream, spoken: dict[str, np.ndarray]) -> None:
    sessions = {f"s{index}": spoken[TEXTS[index % 4]] for index in range(8)}
    given = [cut(name, samples) for name, samples in sessions.items()]
    halves = [
        [chunk for chunks in given for chunk in chunks[: len(chunks) // 2]],
        [c for chunks in given for c in chunks[len(chunks) // 2 :]],
    ]
    first = live.listen("--idle", "600")
    live.say(*halves[0])
    wait_for(lambda: live.progress() == len(halves[0]))  # so each partition that moves has sessions that were saved
    second = live.listen("--idle", "600")
    wait_for(lambda: "sessions go on" in live.log(second))
    assert live.stop(first) == 0
    live.say(*halves[1])
    found = live.heard(all_said(sessions))
    assert broken(found) == []
    assert codes(found) == {}
    for name, words in finals(found).items():
        text = words_of(TEXTS[int(name[1:]) % 4])
        assert len(set(words) ^ set(text)) <= 4 and abs(len(words) - len(text)) <= 1, (name, words)
    assert second.poll() is None


@pytest.mark.slow
def test_what_kills_its_worker_three_times_is_left_out_and_its_session_goes_on(live: LiveStream, spoken: dict[str, np.ndarray]) -> None:
    def at_peak(samples: np.ndarray, peak: float) -> np.ndarray:
        return (samples / np.abs(samples).max() * peak * 32767).astype(np.int16)

    second = np.zeros(RATE_HZ, np.int16)
    calm = [at_peak(spoken[text], 0.5) for text in TEXTS]
    cry = np.concatenate([at_peak(spoken[TEXTS[0]][RATE_HZ // 4 : RATE_HZ], 1.0), second])
    sessions = {"a": calm[0], "b": calm[1], "killer": np.concatenate([calm[2], cry, calm[3]])}
    given = [cut(name, samples) for name, samples in sessions.items()]
    unbroken = LiveStream(live.servers, f"{live.input}-whole", live.folder)
    for one in (live, unbroken):
        one.say(*(chunk for turn in range(max(map(len, given))) for chunks in given for chunk in chunks[turn : turn + 1]))
    unbroken.listen("--idle", "600", engine="echo")
    whole = unbroken.heard(all_said(sessions))
    unbroken.stop(unbroken.workers[0])
    unbroken.producer.close()
    deaths = 0
    flags = ("--idle", "600", "--worker", "one", "-O", "crash_on=peak 1.00")
    worker = live.listen(*flags, engine="echo")
    deadline_s = time.monotonic() + 150
    while not all_said(sessions)(found := live.heard(all_said(sessions), patience_s=2)) and time.monotonic() < deadline_s:
        if worker.poll() is not None:
            deaths += 1
            worker = live.listen(*flags, engine="echo")
    assert deaths == 3
    assert codes(found) == {"engine_crashed": 1}
    assert [one["id"] for one in found if "code" in one] == ["killer"]
    assert broken(found) == []
    assert {name: words for name, words in finals(found).items() if name != "killer"} == {
        name: words for name, words in finals(whole).items() if name != "killer"
    }
    heard = [one["text"] for one in found if one.get("kind") == "final" and one["session"] == "killer"]
    assert all("peak 0.50" in text for text in heard)
    assert len(heard) == sum(one.get("kind") == "final" and one["session"] == "killer" for one in whole) - 1
    assert worker.poll() is None, "the last worker lives on"
    assert live.stop(worker) == 0


def test_a_session_that_falls_silent_is_closed_and_then_forgotten(live: LiveStream) -> None:
    live.listen("--idle", "2", engine="echo")
    live.say(chunk("one", 0, np.zeros(4000)), chunk("one", 2, np.zeros(4000)))
    found = live.heard(lambda found: codes(found)["chunk_missing"] == 1)
    assert codes(found) == {"chunk_missing": 1}
    live.say(chunk("one", 1, np.zeros(4000)))
    found = live.heard(lambda found: codes(found)["chunk_refused"] == 1)
    assert codes(found) == {"chunk_missing": 1, "chunk_refused": 1}, "it came after the end"
    wait_for(lambda: live.states() == {b"one": None})


def test_a_topic_of_states_with_too_few_partitions_is_refused(live: LiveStream) -> None:
    other = LiveStream(live.servers, f"{live.input}-few", live.folder, partitions=4, states=2)
    worker = other.listen(engine="echo")
    assert worker.wait(60) == 2
    assert "2 partitions" in other.log(worker)
    other.producer.close()


def test_live_and_state_belong_together(live: LiveStream) -> None:
    worker = live.start("--live", operation="transcribe")
    assert worker.wait(60) == 2
    assert "--state" in live.log(worker)


def test_a_chunk_may_be_pcm_of_any_rate_or_a_small_file() -> None:
    import soundfile

    tone = (np.sin(np.arange(8000) / 8000 * 440 * 2 * np.pi) * 9000).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, tone, 8000, format="OGG", subtype="OPUS")
    for audio in (
        {"data": base64.b64encode(tone.tobytes()).decode(), "rate_hz": 8000},
        {"data": base64.b64encode(file.getvalue()).decode()},
    ):
        samples = chunks.samples_of(chunks.parse(json.dumps({**chunk("one", 0, None), "audio": audio}).encode()))
        assert samples.dtype == np.int16 and abs(len(samples) - RATE_HZ) <= 160
        assert 7000 < np.abs(samples[2000:14000]).max() < 10000


def test_the_published_schemas_are_those_that_are_checked() -> None:
    for module, name in ((chunks, "chunk.schema.json"), (messages, "live.schema.json")):
        assert json.loads(Path(module.__file__).with_name(name).read_text()) == module.schema()
