"""The ``spex`` command: finds its sub-commands; turns expected errors into one line and a status.

Sub-commands are entry points of the group ``spex.commands`` (see pyproject.toml), so a checkout
adds ``serve``, ``train`` and ``spie`` without the library importing an application. A sub-command's
module is imported only when it is called; its line in the help is read from the module's docstring.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.completion import shell_complete
from typer.core import TyperCommand, TyperGroup

from spex import __version__
from spex.errors import MissingExtraError, SpexError

GROUP = "spex.commands"
INTERRUPTED = 130
_COMPLETE = "_SPEX_COMPLETE"  # set by the shell's completion script


def _source_path(module: str) -> str | None:
    """Path of a module's source, found without importing it; None if there is no such module."""
    package = module.partition(".")[0]
    spec = find_spec(module) if find_spec(package) else None
    return spec.origin if spec else None


def commands() -> dict[str, EntryPoint]:
    """The sub-commands by name, without those of an application that is not installed."""
    entries = [entry for entry in entry_points(group=GROUP) if _source_path(entry.module)]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def _summary(module: str) -> str:
    """First line of a module's docstring."""
    path = _source_path(module)
    assert path is not None, module
    docstring = ast.get_docstring(ast.parse(Path(path).read_text(encoding="utf-8")))
    return (docstring or "").partition("\n")[0]


class _Deferred(TyperCommand):
    """Stands for a sub-command in the listing; becomes the real one when it is called."""

    def __init__(self, entry: EntryPoint) -> None:
        super().__init__(entry.name, help=_summary(entry.module))
        self.entry = entry

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        target = self.entry.load()
        if not isinstance(target, typer.Typer):
            application = typer.Typer(add_completion=False)
            application.command(self.entry.name)(target)
            target = application
        command = typer.main.get_command(target)
        if not args and command.no_args_is_help and not extra.get("resilient_parsing"):
            args = ["--help"]  # typer would raise the help as an error
        return command.make_context(info_name, args, parent=parent, **extra)


class _Commands(TyperGroup):
    """The group whose members are the entry points."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = commands().get(cmd_name)
        return entry and _Deferred(entry)


app = typer.Typer(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Ask a multispectral or hyperspectral image for land cover in plain language."""
    if version:
        typer.echo(f"spex {__version__}")
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _missing_extra(error: ModuleNotFoundError) -> MissingExtraError:
    """Name the extra that installs the module, from the distribution's own metadata."""
    try:
        requirements = requires("spex") or []
    except PackageNotFoundError:
        requirements = []
    package = (error.name or "").partition(".")[0]
    pattern = re.compile(rf"""{re.escape(package)}\b.*extra == ["'](\w+)["']""", re.IGNORECASE)
    extras = [match[1] for line in requirements if (match := pattern.match(line))]
    if extras:
        remedy = f'pip install "spex[{extras[0]}]"'
    else:
        remedy = "reinstall spex, its installation is incomplete"
    return MissingExtraError(f"the package {package!r} is not installed; {remedy}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: words of the command line; those of the process if None.

    Returns:
        Exit status: 0 done, 1 partly done, 2 bad input or usage, 3 refused, 130 interrupted.
    """
    command = typer.main.get_command(app)
    if instruction := os.environ.get(_COMPLETE):
        return shell_complete(command, {}, "spex", _COMPLETE, instruction)
    try:
        with command.make_context("spex", list(sys.argv[1:] if args is None else args)) as context:
            status = command.invoke(context)
        return status if isinstance(status, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except typer.TyperException as error:
        return _fail(error.format_message())
    except ModuleNotFoundError as error:
        own_packages = {"spex", *(entry.module.partition(".")[0] for entry in commands().values())}
        if (error.name or "").partition(".")[0] in own_packages:
            raise  # a defect of SPEX, not a missing extra
        return _fail(str(_missing_extra(error)))
    except SpexError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader (head, less) has gone; without this the interpreter complains when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)


def _fail(message: str, status: int = 2) -> int:
    typer.echo(f"spex: {' '.join(message.split())}", err=True)
    return status
