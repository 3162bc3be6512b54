"""What has to be there before a model can be served: the engine, then the model.

Both are installed where missing, so that one command is enough on a fresh machine.
"""

from jan.runner import bundles, demonstration, engines, hardware, install, sizes, store
from jan.runner.engines import Engine
from jan.runner.progress import Report
from jan.runner.store import Model
from jan.settings import Settings


async def prepare(settings: Settings, report: Report) -> tuple[Engine, Model]:
    """Return the engine and the model that the settings name, after installing what is missing.

    Raises:
        JanError: one of them can't be had; the message says why.
    """
    if settings.model != demonstration.NAME:
        store.get(settings.home, settings.model)  # no engine is fetched for a misspelt model
    engine = await engine_for(settings, report)
    if model := store.find(settings.home, settings.model):
        return engine, model
    return engine, await demonstration.install(settings.home, engine, report)


async def engine_for(settings: Settings, report: Report) -> Engine:
    """Return the engine for this machine, installing it where missing."""
    found = hardware.detect()
    variant = found.variant if settings.engine == "auto" else settings.engine
    if settings.engine == "auto" and found.is_broken:
        report(f"Using the cpu engine: {found.reason}", None)
    bundle = bundles.find(variant)
    if engine := engines.find(settings.home, bundle):
        return engine
    report(
        f"Installing the {variant} engine, vLLM {bundle.version}: "
        f"{sizes.in_words(bundle.download_bytes)} to download, "
        f"{sizes.in_words(bundle.installed_bytes)} on disk",
        None,
    )
    return await install.install(settings.home, bundle, report)
