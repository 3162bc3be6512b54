"""What has to be there before a model can be served: the engine, then the model.

Both are installed where missing, so that one command is enough on a fresh machine.
"""

import difflib
from pathlib import Path

from jan import assets
from jan.errors import NotFound
from jan.runner import bundles, carried, demonstration, engines, hardware, install, sizes, store
from jan.runner.engines import Engine
from jan.runner.progress import Report
from jan.runner.store import Model
from jan.settings import Settings


def require_model(settings: Settings) -> None:
    """Check that the model is there, or is the one that is made on demand.

    Raises:
        NotFound: it is not; the hint names one that is spelt like it.
        InvalidRequest: that is no name.
    """
    require(settings.home, settings.model)


def require(home: Path, name: str) -> None:
    """Check it of a model that is named. Raises as `require_model`."""
    if name == demonstration.NAME or store.find(home, name):
        return
    known = {model.name.lower(): model.name for model in store.models(home)}
    known[demonstration.NAME.lower()] = demonstration.NAME
    hint = f"`jan model list` names those there are; `jan model pull {name}` fetches it."
    if close := difflib.get_close_matches(name.lower(), known, n=1):
        hint = f"Did you mean `{known[close[0]]}`? {hint}"
    raise NotFound(f"There is no model `{name}` here.", hint=hint)


async def prepare(settings: Settings, report: Report) -> tuple[Engine, Model]:
    """Return the engine and the model that the settings name, after installing what is missing.

    Raises:
        JanError: one of them can't be had; the message says why.
    """
    require_model(settings)  # no engine is fetched for a misspelt one
    engine = await engine_for(settings, report)
    return engine, await model_for(settings, engine, report)


async def model_for(settings: Settings, engine: Engine, report: Report) -> Model:
    """Return the model, making it where it is the one that is made on demand."""
    if model := store.find(settings.home, settings.model):
        return model
    require_model(settings)
    return await demonstration.install(settings.home, engine, report)


async def engine_for(settings: Settings, report: Report, *, wheels: Path | None = None) -> Engine:
    """Return the engine for this machine, installing it where missing, perhaps from wheels."""
    found = hardware.chosen(settings.engine)
    variant = found.variant
    if settings.engine == "auto" and found.is_broken:
        report(f"Using the cpu engine: {found.reason}", None)
    bundle = bundles.find(variant)
    if engine := engines.find(settings.home, bundle):
        return engine
    if wheels is not None:
        source = f"from {wheels}"
    elif carried.find(variant):
        source = f"from {assets.executable()}"
    else:
        source = f"{sizes.in_words(bundle.download_bytes)} to download"
    report(
        f"Installing the {variant} engine, vLLM {bundle.version}: {source}, "
        f"{sizes.in_words(bundle.installed_bytes)} on disk",
        None,
    )
    return await install.install(settings.home, bundle, report, wheels=wheels)
