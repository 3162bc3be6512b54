"""`jan service`: Jan as a service of systemd's."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jan.cli import output
from jan.cli.api import Json
from jan.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from jan.service.state import State

app = typer.Typer(no_args_is_help=True)

AFTERWARDS = """
Jan is a service now, and answers at {url}. What comes next:

  sudo {program} setup                    # a link for the first owner
  sudo {program} key create --name first  # an API key
  sudo {program} service status           # how it is
  journalctl -u jan -f  # its log

Settings are in {config}; `sudo systemctl restart jan` makes it read them anew."""

KEPT = """
The data in {home}, the settings in /etc/jan and the user `{user}` are still there. To delete them
for good:

  sudo rm -r {home} /etc/jan
  sudo userdel {user}"""

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command()
def install(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on. Default: 8080.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User to run as; made if new. Default: jan.")
    ] = None,
    executable_dir: Annotated[
        str | None, typer.Option(help="Folder for the executable. Default: /usr/local/bin.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Install this executable as a service, and start it. Once more: bring it up to date."""
    from jan import assets
    from jan.service import install, places, steps, unit
    from jan.service.machine import Machine

    machine = Machine()
    wish = install.Wish(host, port, user, executable_dir)
    source = assets.executable()
    if dry_run:
        plan = install.steps(machine, wish, source)
        output.data(None, as_json=False, text=steps.foretell(machine, plan))
        return
    if source is None:
        raise Misconfigured(
            "This Jan is a checkout: a service runs the executable.",
            hint="`just bundle` makes it; then run `dist/gateway/jan service install`.",
        )
    machine.require_root(f"{source} service install")
    machine.require_systemd()
    plan = install.steps(machine, wish, source)
    settings = install.planned_settings(machine, wish)
    install.require_free(machine, settings)
    has_changed = steps.carry_out(machine, plan, _tell)
    if not has_changed:
        output.say("There was nothing to do.")
        return
    installed = unit.installed(machine)
    assert installed  # as has just been seen to
    output.say(
        AFTERWARDS.format(
            url=settings.local_url, program=installed.executable, config=places.config(machine)
        )
    )


@app.command()
def uninstall(dry_run: DryRun = False) -> None:
    """Stop the service and remove it with its executable. Data, settings and user stay."""
    from jan.service import places, steps, uninstall, unit
    from jan.service.machine import Machine

    machine = Machine()
    if not dry_run:
        machine.require_root("jan service uninstall")
        machine.require_systemd()
    installed = unit.installed(machine)
    plan = uninstall.steps(machine)
    if dry_run:
        output.data(None, as_json=False, text=steps.foretell(machine, plan))
    elif steps.carry_out(machine, plan, _tell):
        user = installed.user if installed else "jan"
        output.say(KEPT.format(home=places.HOME, user=user))
    else:
        output.say("There is nothing to do: the service is not installed.")


@app.command()
def status(json: Json = False) -> None:
    """Show how the service is. Exits with 1 if it does not run."""
    from jan import assets
    from jan.service import state
    from jan.service.machine import Machine

    machine = Machine()
    machine.require_systemd()
    found = state.look(machine, assets.executable())
    output.data(asdict(found), as_json=json, text=_described(found))
    if not found.is_installed:
        raise Misconfigured("The service is not installed.", hint="sudo jan service install")
    if not found.is_running:
        raise Unavailable(
            f"The service does not run: systemd calls it {found.active_state} ({found.sub_state}).",
            hint="Its log says why: journalctl -u jan -n 50. To start it: sudo systemctl start jan",
        )


def _tell(line: str) -> None:
    output.data(None, as_json=False, text=line)


def _described(found: "State") -> str:
    """Write a line for each thing worth telling."""
    from jan.runner import sizes

    if not found.is_installed:
        return "not installed"
    same = {True: "this one", False: "another than this one", None: "not compared"}[found.is_this]
    memory = "not known" if found.memory_bytes is None else sizes.in_words(found.memory_bytes)
    words = {True: "yes", False: "no", None: "not known: root can tell"}
    rows = {
        "state": f"{found.active_state} ({found.sub_state})",
        "since": found.since.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found.since else "-",
        "process": found.pid or "-",
        "restarts": found.restarts,
        "memory": memory,
        "at boot": "started" if found.is_enabled else "not started",
        "user": found.user,
        "executable": found.executable,
        "version": f"{found.version or 'not known'} ({same})",
        "address": found.url or "-",
        "alive": words[found.livez],
        "ready": words[found.readyz],
    }
    return "\n".join(f"{name:<12}{value}" for name, value in rows.items())
