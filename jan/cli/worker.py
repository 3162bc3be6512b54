"""`jan worker`: one process for background work alone."""

from jan.cli import context


def worker() -> None:
    """Run one process for background work (responses, mail, cleaning) alone."""
    import uvloop

    from jan import telemetry
    from jan.gateway import background

    loaded = context.loaded()
    telemetry.configure(loaded.settings.log_format, loaded.settings.log_level)
    uvloop.run(background.run(loaded))
