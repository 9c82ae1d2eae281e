"""The ``spex`` command: finds its sub-commands, and turns expected errors into one line and an exit status.

Sub-commands are entry points of the group ``spex.commands`` (see pyproject.toml), so a checkout adds ``serve``,
``train`` and ``spie`` without the library importing an application. A sub-command's module is imported only when it is
called; its line in the help is read from the module's docstring without importing it.
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
from typer.core import TyperCommand, TyperGroup

from spex import __version__
from spex.errors import MissingExtraError, SpexError

GROUP = "spex.commands"
INTERRUPTED = 130


def _source(module: str) -> str | None:
    """Path of a module's source, found without importing it; None where it is not there."""
    top = module.partition(".")[0]
    spec = find_spec(module) if find_spec(top) else None
    return spec.origin if spec else None


def commands() -> dict[str, EntryPoint]:
    """The sub-commands by name; those of an application that is not there (a wheel install has none) are left out."""
    found = {entry.name: entry for entry in entry_points(group=GROUP) if _source(entry.module)}
    return dict(sorted(found.items()))


def _summary(module: str) -> str:
    source = _source(module)
    assert source is not None, module
    docstring = ast.get_docstring(ast.parse(Path(source).read_text(encoding="utf-8")))
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
            app = typer.Typer(add_completion=False)
            app.command(self.entry.name)(target)
            target = app
        command = typer.main.get_command(target)
        if not args and command.no_args_is_help:
            args = ["--help"]  # typer would raise the help as an error
        return command.make_context(info_name, args, parent=parent, **extra)


class _Commands(TyperGroup):
    """The group whose members are the entry points."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = commands().get(cmd_name)
        return entry and _Deferred(entry)


app = typer.Typer(cls=_Commands, add_completion=False)


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
    """Name the extra that brings the module, from the distribution's own metadata."""
    try:
        lines = requires("spex") or []
    except PackageNotFoundError:
        lines = []
    package = (error.name or "").partition(".")[0]
    wanted = re.compile(rf"""{re.escape(package)}\b.*extra == ["'](\w+)["']""", re.IGNORECASE)
    extra = next((match[1] for line in lines if (match := wanted.match(line))), None)
    remedy = (
        f'pip install "spex[{extra}]"'
        if extra
        else "reinstall spex, its installation is incomplete"
    )
    return MissingExtraError(f"the package {package!r} is not installed; {remedy}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 partly done, 2 bad input or usage, 130 interrupted."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("spex", list(sys.argv[1:] if args is None else args)) as context:
            status = command.invoke(context)
        return status if isinstance(status, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except typer.TyperException as error:
        return _fail(error.format_message())
    except ModuleNotFoundError as error:
        own = {"spex", *(entry.module.partition(".")[0] for entry in commands().values())}
        if (error.name or "").partition(".")[0] in own:
            raise  # a defect of ours, not a missing extra
        return _fail(str(_missing_extra(error)))
    except SpexError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader (head, less) has gone; without this the interpreter complains once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)


def _fail(message: str, status: int = 2) -> int:
    typer.echo(f"spex: {' '.join(message.split())}", err=True)
    return status
