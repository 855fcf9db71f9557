"""Demucs with small random weights that are made here: its real loading code, its stems, and what it does out of memory."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.transforms.engines import small_demucs
from tests.transforms.engines.small_demucs import FOUR, SIX
from transforms import codec, models, steps
from transforms.engine import Place
from transforms.engines.demucs import Demucs, consistent
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.options import AudioOptions
from transforms.records import Audio, Failure, Input, Item, Piece, Result, Work
from transforms.settings import Settings

RATE_HZ = 44100
MIX = (np.random.default_rng(1).standard_normal((2, 10 * RATE_HZ)) * 0.1).astype(np.float32)


def test_what_the_sources_lack_of_the_mix_is_shared_out_evenly() -> None:
    mix, made = np.full((2, 3), 1.0, np.float32), np.zeros((4, 2, 3), np.float32)
    made[0] = 0.6
    np.testing.assert_allclose(consistent(made, mix)[:, 0, 0], [0.7, 0.1, 0.1, 0.1], atol=1e-6)


@pytest.fixture(scope="module")
def models_dir(torch_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    with small_demucs.rows(folder):
        yield folder


@pytest.fixture
def engine(models_dir: Path) -> Iterator[Demucs]:
    made = Demucs()
    made.load(Place("cpu", 2, models_dir))
    yield made
    made.close()


def separated(engine: Demucs, samples: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    (outcome,) = engine.run([Piece({"audio": Audio(samples, RATE_HZ)}, engine.Options(**options), 0)])
    assert isinstance(outcome, Result)
    assert outcome.fields == {"method": "htdemucs_6s" if options.get("stems") == 6 else "htdemucs"}
    return {name: audio.samples for name, audio in outcome.outputs.items()}


@pytest.mark.parametrize(("stems", "names"), [(2, ["vocals", "instrumental"]), (4, FOUR), (6, SIX)])
def test_stems_have_the_models_names_and_add_up_to_the_mix(engine: Demucs, stems: int, names: list[str]) -> None:
    made = separated(engine, MIX, stems=stems)
    assert list(made) == names
    assert all((stem.shape, stem.dtype) == (MIX.shape, np.float32) for stem in made.values())
    np.testing.assert_allclose(sum(made.values()), MIX, atol=1e-5)
    assert len({stem.tobytes() for stem in made.values()}) == stems


def test_two_stems_are_the_vocals_of_four_and_the_sum_of_the_others(engine: Demucs) -> None:
    two, four = separated(engine, MIX), separated(engine, MIX, stems=4)
    np.testing.assert_array_equal(two["vocals"], four["vocals"])
    np.testing.assert_allclose(two["instrumental"], four["drums"] + four["bass"] + four["other"], atol=1e-5)


def test_a_louder_mix_makes_louder_stems_of_the_same_shape(engine: Demucs) -> None:
    np.testing.assert_allclose(separated(engine, 4 * MIX)["vocals"], 4 * separated(engine, MIX)["vocals"], atol=1e-3)


def test_a_second_engine_and_two_threads_at_once_give_the_same_to_the_bit(engine: Demucs, models_dir: Path) -> None:
    other = Demucs()
    other.load(Place("cpu", 1, models_dir))
    alone = [separated(other, part)["vocals"].tobytes() for part in (MIX, MIX[:, ::-1])]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda part: separated(engine, part)["vocals"].tobytes(), (MIX, MIX[:, ::-1]))) == alone


def test_two_threads_at_once_open_one_copy_of_the_model(engine: Demucs, monkeypatch: pytest.MonkeyPatch) -> None:
    from demucs import pretrained

    opened, get_model = list[str](), pretrained.get_model

    def slowly(name: str, **given: Any) -> Any:
        opened.append(name)
        time.sleep(0.2)
        return get_model(name, **given)

    monkeypatch.setattr(pretrained, "get_model", slowly)
    with ThreadPoolExecutor(2) as pool:
        stems = list(pool.map(lambda _: separated(engine, MIX[:, :RATE_HZ])["vocals"], range(2)))
    np.testing.assert_array_equal(*stems)
    assert opened == ["htdemucs"]


def test_on_cuda_the_models_compute_in_half_precision_and_the_stems_are_32_bits_all_the_same(
    engine: Demucs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA stood in for by the processor, whose own half precision is bfloat16."""
    import torch

    whole, asked, inside = separated(engine, MIX), list[Any](), set[Any]()
    autocast, apply_model = torch.autocast, engine._apply_model

    def stand_in(device: str, dtype: Any) -> Any:
        asked.append((device, dtype))
        return autocast("cpu", torch.bfloat16)

    def on_the_processor(*given: Any, device: str, **more: Any) -> Any:
        asked.append(device)
        return apply_model(*given, device="cpu", **more)

    bag = engine._open("htdemucs")
    bag.models[0].tencoder[0].conv.register_forward_hook(lambda layer, given, made: inside.add(made.dtype))
    monkeypatch.setattr(torch, "autocast", stand_in)
    monkeypatch.setattr(engine, "_apply_model", on_the_processor)
    monkeypatch.setattr(engine, "_place", replace(engine._place, device="cuda"))
    half = separated(engine, MIX)
    assert asked == [("cuda", torch.float16), "cuda"]
    assert inside == {torch.bfloat16}
    assert all(stem.dtype == np.float32 for stem in half.values())
    np.testing.assert_allclose(sum(half.values()), MIX, atol=1e-5)
    assert np.abs(half["vocals"] - whole["vocals"]).max() < 0.05 * np.abs(whole["vocals"]).max()


@pytest.mark.parametrize("samples", [np.zeros((2, RATE_HZ), np.float32), MIX[:, :1]])
def test_silence_and_a_single_frame_come_out_as_long_as_they_are(engine: Demucs, samples: np.ndarray) -> None:
    for stem in separated(engine, samples).values():
        assert stem.shape == samples.shape
        assert np.isfinite(stem).all()


def test_out_of_memory_the_segment_is_halved_until_it_fits_and_stays_so(engine: Demucs) -> None:
    import torch

    seen: list[float] = []

    def short_of_memory(layer: Any, given: Any) -> None:
        seen.append(given[0].shape[-1] / RATE_HZ)
        if seen[-1] > 2.0:
            raise torch.OutOfMemoryError("injected")

    whole = separated(engine, MIX)
    # a layer inside, because the model itself can fill a short segment up again
    engine._open("htdemucs").models[0].tencoder[0].register_forward_pre_hook(short_of_memory)
    made = separated(engine, MIX)
    assert seen[:3] == pytest.approx([7.8, 3.9, 1.95])
    assert set(np.round(seen[2:], 2)) == {1.95}
    np.testing.assert_allclose(made["vocals"] + made["instrumental"], MIX, atol=1e-5)
    assert whole["vocals"].shape == made["vocals"].shape
    seen.clear()
    separated(engine, MIX)
    assert max(seen) < 2.0


def batches(engine: Demucs, pieces: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The stems of each, all of them asked for at once."""
    item = Item("0" * 64, "a", "separate", "demucs", engine.Options(), {})
    flow = [Work(item, [Piece({"audio": Audio(samples, RATE_HZ)}, item.options, 0)]) for samples in pieces]
    found = [work.payload.results[0] for work in steps.infer(list(flow), engine) if isinstance(work, Work)]
    assert len(found) == len(pieces)
    return [{name: audio.samples for name, audio in one.outputs.items()} for one in found]


def test_a_gpu_is_given_several_pieces_at_once_and_a_processor_one(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    engines = {device: Demucs() for device in ("cuda", "cpu")}
    for device, engine in engines.items():
        engine.load(Place(device, 1, models_dir))
    assert (engines["cuda"].max_batch, engines["cpu"].max_batch) == (4, 1)


def test_pieces_of_one_length_are_one_batch_and_come_out_as_they_do_alone(engine: Demucs) -> None:
    seen, pieces = list[int](), [MIX, MIX[:, ::-1] * 0.2, MIX[:, :RATE_HZ], MIX[::-1]]
    alone = [separated(engine, samples) for samples in pieces]
    engine._open("htdemucs").models[0].register_forward_pre_hook(lambda model, given: seen.append(len(given[0])))
    engine.max_batch = 4
    for one, other in zip(batches(engine, pieces), alone, strict=True):
        for name, stem in other.items():
            np.testing.assert_allclose(one[name], stem, atol=1e-5)
    assert seen == [3, 3, 1], "two segments of three pieces, though another stands between them, and one of that"


def test_a_batch_that_memory_does_not_hold_is_halved_before_a_segment_is_and_the_number_is_kept_to(engine: Demucs) -> None:
    import torch

    seen = list[tuple[int, int]]()

    def short_of_memory(layer: Any, given: Any) -> None:
        seen.append((len(given[0]), given[0].shape[-1]))
        if seen[-1][0] > 2:
            raise torch.OutOfMemoryError("injected")

    engine._open("htdemucs").models[0].tencoder[0].register_forward_pre_hook(short_of_memory)
    engine.max_batch, short = 4, MIX[:, : 2 * RATE_HZ]
    batches(engine, [short] * 4)
    assert [pieces for pieces, _ in seen] == [4, 2, 2]
    for samples, segments in ((short, 1), (MIX, 2)):
        seen.clear()
        batches(engine, [samples] * 4)
        assert [pieces for pieces, _ in seen] == [2, 2] * segments
        assert {frames / RATE_HZ for _, frames in seen} == {7.8}


def test_a_batch_keeps_to_the_segment_that_fits_a_single_piece(engine: Demucs) -> None:
    seen = list[tuple[int, float]]()

    def short_of_memory(layer: Any, given: Any) -> None:
        seen.append((len(given[0]), given[0].shape[-1] / RATE_HZ))
        if seen[-1][1] > 4:
            raise RuntimeError("MPS backend out of memory")

    engine._open("htdemucs").models[0].tencoder[0].register_forward_pre_hook(short_of_memory)
    separated(engine, MIX)
    seen.clear()
    engine.max_batch = 4
    batches(engine, [MIX] * 2)
    assert set(seen) == {(2, 3.9)}


def test_memory_that_never_suffices_is_the_items_own_transient_failure(engine: Demucs) -> None:
    def no_memory(model: Any, given: Any) -> None:
        raise MemoryError

    engine._open("htdemucs").models[0].register_forward_pre_hook(no_memory)
    with pytest.raises(WavemillError, match=r"even for 1\.95 s of a segment") as caught:
        separated(engine, MIX)
    assert caught.value.code == "out_of_memory"


def test_a_mono_file_comes_out_as_stereo_stems_whose_halves_agree_on_their_sum(engine: Demucs, tmp_path: Path) -> None:
    mono = Audio(MIX[:1, :RATE_HZ], RATE_HZ)
    (tmp_path / "mono.wav").write_bytes(codec.encode(mono, AudioOptions(format="wav")).data)
    item = Item("0" * 64, "a", "separate", "demucs", engine.Options(), {"audio": Input("uri", str(tmp_path / "mono.wav"))})
    row = operation("separate")
    flow = steps.fetch([Work(item, None)], row, engine, Settings())
    (work,) = steps.join(steps.infer(steps.split(flow, row, engine), engine), row, engine)
    assert isinstance(work, Work)
    stems = [audio.samples for audio in work.payload.outputs.values()]
    assert [stem.shape for stem in stems] == [(2, RATE_HZ)] * 2
    np.testing.assert_allclose(sum(stems), mono.samples.repeat(2, axis=0), atol=1e-3)


def test_memory_of_torch_that_never_suffices_fails_one_item_and_leaves_the_others(engine: Demucs) -> None:
    import torch

    def short_of_memory(layer: Any, given: Any) -> None:
        if bool((given[0] != 0).any()):
            raise torch.OutOfMemoryError("injected")

    engine._open("htdemucs").models[0].tencoder[0].register_forward_pre_hook(short_of_memory)
    item = Item("0" * 64, "a", "separate", "demucs", engine.Options(), {})
    silence, sound = np.zeros((2, RATE_HZ), np.float32), MIX[:, :RATE_HZ]
    flow = [Work(item, [Piece({"audio": Audio(samples, RATE_HZ)}, item.options, 0)]) for samples in (silence, sound, silence)]
    assert [one.code if isinstance(one, Failure) else "made" for one in steps.infer(list(flow), engine)] == [
        "made",
        "out_of_memory",
        "made",
    ]


def test_weights_that_are_not_those_their_name_says_are_refused(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(models_dir / "demucs-htdemucs", tmp_path / "demucs-htdemucs")
    weights = tmp_path / "demucs-htdemucs" / models.known("demucs-htdemucs").files[1].name
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    other = Demucs()
    other.load(Place("cpu", 1, tmp_path))
    with pytest.raises(WavemillError, match="demucs-htdemucs") as caught:
        separated(other, MIX)
    assert caught.value.code == "weights_mismatch"


def test_a_device_that_is_not_here_is_named(models_dir: Path) -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("it is here")
    with pytest.raises(WavemillError, match="mps") as caught:
        Demucs().load(Place("mps", 1, models_dir))
    assert (caught.value.code, caught.value.field) == ("engine_unloadable", "device")


def test_where_torch_is_not_installed_the_engine_says_which_extra_has_it() -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed here")
    with pytest.raises(WavemillError, match=r"wavemill\[torch\]") as caught:
        Demucs().load(Place())
    assert caught.value.code == "engine_unloadable"
