"""Root acts as the owner of JAN_HOME: what it leaves there must be the owner's too.

Else a `jan key create` of root's would leave files that `jan serve` of the service's user can't
read, and could be led by a link in that folder to what is root's.
"""

import os
import pwd
import sys
from collections.abc import Mapping
from typing import Any

from jan import settings, sources
from jan.errors import Misconfigured

PROGRAM = (sys.executable,) if getattr(sys, "frozen", False) else (__file__, os.__file__)
"""What Jan consists of: a frozen one of its own folder, a checkout of itself and of Python."""


def become(said: Mapping[str, Any]) -> None:
    """Turn from root into whoever owns JAN_HOME, for good. `said` is what the command line said.

    Does nothing for others than root, for a home that is root's or not there yet, and for an owner
    who is no user of this machine, as in containers with a folder from outside.

    Raises:
        Misconfigured: that can't be done, or the owner can't run this program.
    """
    if os.geteuid() != 0:
        return
    home = settings.choose_home(said, os.environ)
    try:
        owner = pwd.getpwuid(home.stat().st_uid)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return
    if owner.pw_uid == 0:
        return
    try:
        os.initgroups(owner.pw_name, owner.pw_gid)
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)
    except OSError as error:
        raise Misconfigured(
            f"{home} belongs to the user `{owner.pw_name}`, and root can't act as that user here:"
            f" {error.strerror}.",
            hint=f"Run Jan as `{owner.pw_name}`.",
        ) from None
    for program in PROGRAM:
        if not os.access(program, os.R_OK):
            raise Misconfigured(
                f"{home} belongs to the user `{owner.pw_name}`, who can't read {program}.",
                hint=f"Put Jan where everybody can read it, or run it as `{owner.pw_name}`.",
            )
    _leave_environment(owner, str(home))


def _leave_environment(owner: pwd.struct_passwd, home: str) -> None:
    """Leave the folders of root's that the environment names, for programs that we start too."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ.update(HOME=owner.pw_dir, USER=owner.pw_name, LOGNAME=owner.pw_name)
    # What was meant is root's default, or begins with root's `~`.
    os.environ[sources.variable("home")] = home
