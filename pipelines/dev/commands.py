"""`wavemill dev`: real services in the background, for trying."""

from __future__ import annotations

import shlex

import click

from pipelines.dev import services
from transforms.settings import Settings

_pass_settings = click.make_pass_decorator(Settings, ensure=True)
_names = click.argument("names", nargs=-1, metavar="[SERVICE]...")


@click.group(epilog="\b\nServices:\n" + "".join(f"  {name:9} {row.summary}\n" for name, row in services.SERVICES.items()))
def dev() -> None:
    """Real services in the background, for trying.

    \b
    Examples:
      eval "$(wavemill dev up)"       start, and point this shell at them
      wavemill dev status
      wavemill dev down
    """


@dev.command()
@_names
@_pass_settings
def up(settings: Settings, names: tuple[str, ...]) -> None:
    """Start services (all when none is named) and print the shell lines that point at them.

    Running ones are left as they are, so it can be given again in another shell.

    \b
    Example:
      eval "$(wavemill dev up s3)"
    """
    for name in names or services.SERVICES:
        service = services.find_service(name)
        running, started = services.up(name, settings.dev_dir)
        click.echo(f"# {name}: {'started' if started else 'runs already'}, pid {running.pid}, log {running.log}", err=True)
        for variable, value in service.environment(running.ports).items():
            click.echo(f"export {variable}={shlex.quote(value)}")
        click.echo(f"# then: {service.try_it}", err=True)


@dev.command()
@_names
@_pass_settings
def down(settings: Settings, names: tuple[str, ...]) -> None:
    """Stop services (all when none is named). What they stored stays for the next `up`.

    \b
    Example:
      wavemill dev down
    """
    for name in names or services.SERVICES:
        stopped = services.down(name, settings.dev_dir)
        click.echo(f"{name}: {'stopped' if stopped else 'was not running'}")


@dev.command()
@_pass_settings
def status(settings: Settings) -> None:
    """Say which services run, and where."""
    for name in services.SERVICES:
        running = services.status(name, settings.dev_dir)
        if running:
            where = " ".join(
                f"{k}={v}" for k, v in services.SERVICES[name].environment(running.ports).items() if "SECRET" not in k
            )
            click.echo(f"{name}: runs, pid {running.pid}, log {running.log}\n  {where}")
        else:
            click.echo(f"{name}: does not run")
