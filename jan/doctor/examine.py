"""All checks in the order in which things are needed."""

from jan.doctor import machine, services
from jan.doctor.findings import Check, Finding
from jan.errors import JanError
from jan.settings import Loaded

CHECKS: dict[str, Check] = {
    "permissions": machine.permissions,
    "secrets": services.secrets,
    "disk": machine.disk,
    "memory": machine.memory,
    "clock": machine.time,
    "port": machine.port,
    "engine port": machine.engine_port,
    "database": services.database,
    "replicas": services.replicas,
    "valkey": services.valkey,
    "jobs": services.jobs,
    "mail": services.mail,
    "GPU": machine.gpu,
    "engine": services.engine,
    "models": services.model_store,
    "model server": services.model_server,
}


async def examine(loaded: Loaded) -> list[Finding]:
    """Look at everything. Changes nothing, and one failure hides no other."""
    return [await _run(subject, check, loaded) for subject, check in CHECKS.items()]


async def _run(subject: str, check: Check, loaded: Loaded) -> Finding:
    try:
        return await check(loaded)
    except JanError as error:
        return Finding(subject, "failure", error.message, error.hint)
    except PermissionError as error:
        home = loaded.settings.home
        return Finding(
            subject,
            "failure",
            f"{error.filename or home}: {error.strerror}.",
            f"Run Jan as the user who owns {home}, or set JAN_HOME to a folder of your own.",
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, it hides none of the others
        words = f"{type(error).__name__}: {error}"
        return Finding(subject, "failure", words, "Mend what it says, or report it as a bug.")
