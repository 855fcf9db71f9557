"""`wavemill dev`: real services in the background, for trying."""

from __future__ import annotations

import shlex

import click

from pipelines.dev import services
from transforms.command_line import new_settings, say

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
def up(names: tuple[str, ...]) -> None:
    """Start services (when none is named, those that need nothing but wavemill) and print the shell lines that point at them.

    Running ones are left as they are, so it can be given again in another shell.

    \b
    Example:
      eval "$(wavemill dev up s3)"
    """
    dev_dir = new_settings().dev_dir
    for name in names or [name for name, row in services.SERVICES.items() if not row.by_name_only]:
        service = services.find_service(name)
        if (other := services.stand_in(name)) != name:
            say(f"# {name}: cannot run here (it needs Java 17, and Maven once); {other} in its place: {services.SERVICES[other].summary}")
            name, service = other, services.SERVICES[other]
        running, started = services.up(name, dev_dir)
        say(f"# {name}: {'started' if started else 'runs already'}, pid {running.pid}, log {running.log}")
        for variable, value in service.environment(running.ports).items():
            click.echo(f"export {variable}={shlex.quote(value)}")
        say(f"# then: {service.try_it}")


@dev.command()
@_names
def down(names: tuple[str, ...]) -> None:
    """Stop services (all when none is named). What they stored stays for the next `up`.

    \b
    Example:
      wavemill dev down
    """
    dev_dir = new_settings().dev_dir
    for name in names or services.SERVICES:
        stopped = [one for one in {name, services.stand_in(name)} if services.down(one, dev_dir)]
        click.echo(f"{name}: {'stopped' if stopped else 'was not running'}")


@dev.command()
def status() -> None:
    """Say which services run, and where.

    \b
    Example:
      wavemill dev status
    """
    dev_dir = new_settings().dev_dir
    for name in services.SERVICES:
        running = services.status(name, dev_dir)
        if running:
            where = " ".join(f"{k}={v}" for k, v in services.SERVICES[name].environment(running.ports).items() if "SECRET" not in k)
            click.echo(f"{name}: runs, pid {running.pid}, log {running.log}\n  {where}")
        else:
            click.echo(f"{name}: does not run")
