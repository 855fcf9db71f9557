"""`wavemill voices`: the stock voices, and those that people saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from transforms.command_line import new_settings, say
from transforms.commands import AS_JSON, print_facts
from transforms.errors import WavemillError

if TYPE_CHECKING:
    from transforms.voice_library import Saved
    from transforms.voices import Voice

PREVIEW = {
    "de": "Guten Tag. So klingt diese Stimme.",
    "en": "Hello. This is how the voice sounds.",
    "es": "Hola. Así suena esta voz.",
    "fr": "Bonjour. Voici comment sonne cette voix.",
    "hi": "नमस्ते। यह आवाज़ ऐसी सुनाई देती है।",
    "it": "Ciao. Questa voce suona così.",
    "ja": "こんにちは。この声はこのように聞こえます。",
    "pt": "Olá. É assim que esta voz soa.",
    "zh": "你好。这个声音听起来是这样的。",
}
"""What a preview says, by language; English where a language is not here."""


@click.group(invoke_without_command=True)
@click.option("-e", "--engine", help="Only of this engine.")
@click.option("--language", help="Only of this language: en, en-gb, es.")
@click.option("--gender", type=click.Choice(["female", "male"]), help="Only of this gender.")
@AS_JSON
@click.pass_context
def voices(context: click.Context, engine: str | None, language: str | None, gender: str | None, as_json: bool) -> None:
    """The voices: stock ones, those found for a recording, those saved under a name. Kokoro's mix: af_bella:0.6+af_sky:0.4.

    \b
    Examples:
      wavemill voices --language en --gender female
      wavemill voices --engine piper --json
      wavemill voices save me.wav --name "My voice" --consent "me, on the phone"
      wavemill voices preview af_bella -o bella.mp3
    """
    if context.invoked_subcommand:
        return
    facts = [facts for facts in _every(engine) if _speaks(facts["language"], language) and (gender is None or facts["gender"] == gender)]
    if not facts and not as_json:
        say("no voice is all of that; see `wavemill voices`")
    print_facts(facts, as_json)


def _every(engine: str | None) -> list[dict[str, Any]]:
    from transforms import voices as table
    from transforms.engine import engine_class, engines
    from transforms.voice_library import library

    if engine:
        engine_class("synthesize", engine)
    names = [engine] if engine else list(engines("synthesize"))
    stock = dict.fromkeys(voice for name in names for voice in table.stock(name).values())
    found = [_facts(v, v.engine, v.language, v.name) for v in stock]
    if set(names) & set(table.KOKORO):
        for id in library().ids():
            try:
                saved = library().find(id)
                found.append(_facts(saved, "kokoro", _language(saved), saved.name or ("fitted" if saved.sha256 else "mixed")))
            except WavemillError as error:
                say(f"{id}: {error.detail}")
    return found


def _facts(voice: Voice | Saved, engine: str, language: str, name: str) -> dict[str, Any]:
    return {"id": voice.id, "engine": engine, "language": language, "gender": voice.gender or "-", "name": name}


def _language(saved: Saved) -> str:
    from transforms.phonemes import LANGUAGES
    from transforms.voices import heaviest, letter_of, resolve

    return saved.language or LANGUAGES[letter_of(heaviest(resolve("kokoro", saved.id)))]


def _speaks(spoken: str, wanted: str | None) -> bool:
    """`en` finds `en-us` and `en-gb`."""
    return wanted is None or f"{spoken}-".startswith(f"{wanted.lower().replace('_', '-')}-")


@voices.command()
@click.argument("reference", metavar="FILE")
@click.option("--name", required=True, help="What people call the voice.")
@click.option("--consent", required=True, help="Who agreed that the voice is used, and how; it is kept with the voice.")
@click.option("--language", help="What it speaks where nothing else is said: en-us, es.")
@click.option("--gender", type=click.Choice(["female", "male"]), default=None, help="For lists alone.")
@click.option("--method", type=click.Choice(["auto", "mix", "fitted"]), default="auto", show_default=True, help="As in `wavemill embed`.")
def save(reference: str, name: str, consent: str, language: str | None, gender: str | None, method: str) -> None:
    """Save the voice of a recording under a name. What is printed is what --voice takes.

    \b
    Examples:
      wavemill voices save me.wav --name "My voice" --consent "me, on the phone"
      wavemill synthesize "Hello" --voice uv_0123456789ab -o hello.mp3
    """
    from pipelines.one import run_one
    from transforms import phonemes
    from transforms.records import Input
    from transforms.storage import canonical
    from transforms.voice_library import library

    settings = new_settings()
    phonemes.letter(language, "a")
    if not consent.strip():
        raise click.UsageError("--consent says who agreed, and how")
    told = run_one("embed", "kokoro", {"method": method}, {"audio": Input("uri", canonical(reference))}, settings)
    facts = {"made_of": told.fields["voice"], "method": told.fields["method"], "similarity": told.fields["similarity"]}
    saved = library().save(consent, name=name, language=language, gender=gender or "", **facts)
    click.echo(saved.id)
    say(f"{told.fields['method']}, similarity {saved.similarity:.2f}; in {settings.voices}")


@voices.command()
@click.argument("id")
def remove(id: str) -> None:
    """Forget a saved or fitted voice: its record, its pack and its preview.

    \b
    Example:
      wavemill voices remove uv_0123456789ab
    """
    from transforms.voice_library import library

    library().remove(id)


@voices.command()
@click.argument("id")
@click.option("-o", "--output", required=True, help="An mp3 file.")
def preview(id: str, output: str) -> None:
    """A sentence in a voice; spoken once and kept with the saved voices.

    \b
    Example:
      wavemill voices preview bf_emma -o emma.mp3
    """
    from transforms.storage import canonical
    from transforms.store import Store

    settings = new_settings()
    folder, _, name = canonical(output).rpartition("/")
    Store(folder, settings.storage_patience_s).write(name, spoken_preview(id, settings))


def spoken_preview(id: str, settings: Any) -> bytes:
    """The preview of a voice, as MP3. Raises `unknown_voice`."""
    from pipelines.one import run_one
    from transforms import identity
    from transforms.engine import engine_class
    from transforms.errors import near
    from transforms.records import Input
    from transforms.voice_library import library

    known = {facts["id"]: facts for facts in _every(None)}
    if id not in known:
        raise WavemillError("unknown_voice", f"no voice {id!r}{near(id, known)}; see `wavemill voices`", "voice")
    engine, language = known[id]["engine"], known[id]["language"]
    cls, options = engine_class("synthesize", engine), {"voice": id, "language": language}
    text = {"text": Input("text", PREVIEW.get(language.partition("-")[0], PREVIEW["en"]))}
    key = identity.key(identity.prefix(cls(), cls.Options.parse(options)), text)
    data = library().preview(id, key)
    if data is None:
        data = run_one("synthesize", engine, options, text, settings).outputs["audio"].data
        library().keep_preview(id, key, data)
    return data
