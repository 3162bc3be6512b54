"""The `jan` command: which file holds which command, and how errors end it.

Exit codes: 0 done, 1 refused and explained, 2 wrong usage, 70 a bug of ours.
Only the command that is asked for is imported, so that `jan --help` stays quick.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from jan.cli import context, output
from jan.errors import COMPLAINT, EXIT_REFUSED, HINT, JanError

EXIT_BUG = 70

COMMANDS = {
    "serve": "Run everything: database, engine, gateway.",
    "setup": "Print a link for the first owner of this Jan.",
    "key": "Create, list, rotate and revoke API keys.",
    "org": "Create, list, rename and delete organizations.",
    "project": "Create, list, rename and archive projects.",
    "user": "Create, list, disable and delete people.",
    "member": "Add, list and remove members of an organization or a project.",
    "service-account": "Create, list and delete service accounts.",
    "invite": "Invite people to an organization.",
    "retention": "Say how long an organization keeps conversations and responses.",
    "mcp": "Add, list, test and remove remote MCP servers.",
    "audit": "List, verify and export the audit log.",
    "usage": "Show requests and tokens, by key and model.",
    "model": "Pull, add, list, remove, load and unload models.",
    "provider": "Add, list, check and remove servers that have models.",
    "engine": "Install, list and remove inference engines.",
    "service": "Install Jan as a service of systemd's, show it, remove it.",
    "config": "Show and check settings.",
    "helm": "Write values and manifests for Kubernetes, and the chart.",
    "doctor": "Check what goes wrong in practice, and say how to mend it.",
    "self-check": "Try this copy of Jan out, in a temporary home.",
    "migrate": "Bring the database's schema up to date.",
    "gateway": "Run one gateway process alone.",
    "worker": "Run one process for background work (responses, mail, cleaning) alone.",
    "runner": "Run one model's engine alone.",
}
"""Each command lives in the file of its name: a group `app`, or a function of that name."""

ROOT_OPTIONS_WITH_VALUE = frozenset({"--home", "--config", "--server"})


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    try:
        build(sys.argv[1:])()
        sys.exit()
    except JanError as error:
        output.say(f"{COMPLAINT}{error.message}")
        if error.hint:
            output.say(f"{HINT}{error.hint}")
        sys.exit(EXIT_REFUSED)
    except BrokenPipeError:
        # The reader of our output is gone (`jan key list | head`): not worth a word, but Python
        # would write one when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_REFUSED)
    except PermissionError as error:
        if error.filename is None:
            _tell_bug(error)
            sys.exit(EXIT_BUG)
        output.say(f"{COMPLAINT}{error.filename}: {error.strerror}.")
        output.say(f"{HINT}Jan acts as {_our_user()} here, who has to be able to get there.")
        sys.exit(EXIT_REFUSED)
    except Exception as error:  # noqa: BLE001 - the last stop: whatever comes here is a bug of ours
        _tell_bug(error)
        sys.exit(EXIT_BUG)


def _our_user() -> str:
    """Name the user that we are: root that was may be another by now (`jan.owner`)."""
    import pwd

    try:
        return f"the user `{pwd.getpwuid(os.geteuid()).pw_name}`"
    except KeyError:
        return f"user number {os.geteuid()}"


def _tell_bug(error: Exception) -> None:
    """Say what is to be reported: the traceback to a person, else only the type and the place.

    A person at a terminal has nothing else to report a bug with. Elsewhere standard error is a log
    (a journal, a file, `jan serve` that collects what its children say), and no traceback reaches
    a log at the default level: it repeats the exception's words, and those may quote a prompt.
    """
    level = context.log_level() or os.environ.get("JAN_LOG_LEVEL")
    if sys.stderr.isatty() or level == "debug":
        traceback.print_exception(error)
        output.say("error: this is a bug in Jan; please report it with the lines above.")
        return
    from jan import telemetry

    words = " ".join(f"{name}={value}" for name, value in telemetry.brief(error).items())
    output.say(f"error: this is a bug in Jan; please report it: {words}")
    output.say("hint: JAN_LOG_LEVEL=debug adds the traceback.")


def build(arguments: Sequence[str]) -> typer.Typer:
    """Make the command line in which the command that `arguments` name is complete.

    The others are there by name and line only: enough for help, and nothing is imported.
    """
    app = typer.Typer(
        name="jan",
        help="Jan: a private AI platform in one program.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    # Completion asks about the words in its own variable, so it gets them all.
    wanted = set(COMMANDS) if "_JAN_COMPLETE" in os.environ else {_command_in(arguments)}
    for name, line in COMMANDS.items():
        if name not in wanted:
            app.command(name, help=line)(_unloaded)
            continue
        spelt = name.replace("-", "_")
        module = importlib.import_module(f"jan.cli.{spelt}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=line)
        else:
            command = getattr(module, spelt)
            app.command(name, help=command.__doc__ or line)(command)
    return app


def _print_version(asked: bool | None) -> None:
    if asked:
        from jan import assets

        output.data(None, as_json=False, text=f"jan {assets.build()}")
        raise typer.Exit


def root(
    home: Annotated[Path | None, typer.Option(help="Folder for everything Jan keeps.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (jan.toml).")] = None,
    server: Annotated[
        str | None, typer.Option(help="Another Jan to administer; JAN_ADMIN_KEY is its key.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True),
    ] = None,
) -> None:
    """Take the options that stand before the command."""
    context.remember(home=home, config=config, server=server)


def _command_in(arguments: Sequence[str]) -> str | None:
    previous = ""
    for argument in arguments:
        if not argument.startswith("-") and previous not in ROOT_OPTIONS_WITH_VALUE:
            return argument
        previous = argument
    return None


def _unloaded() -> None:
    """Stand for a command that this run does not use."""
