"""Trying this copy of Jan out as its users would: started, given a key, asked, and stopped.

All of it happens in a temporary home. An engine and a model that are installed are lent to it, and
what this executable carries is installed for that; without them a stand-in for a model server
answers, and everything but the engine is tried.
"""

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from jan import assets, clock, probe, process
from jan.doctor.findings import Finding
from jan.errors import JanError, Unavailable
from jan.process import Child
from jan.runner import (
    bundles,
    carried,
    demonstration,
    engines,
    hardware,
    prepare,
    progress,
    store,
)
from jan.settings import Loaded, Settings
from jan.sources import EXECUTABLE, inherited

START_TIMEOUT_S = 120.0
"""For PostgreSQL, the migrations and the gateway: some seconds, on a slow disk more."""
COMMAND_TIMEOUT_S = 60.0
CHAT_TIMEOUT_S = 120.0
STOP_GRACE_S = 60.0

MODEL = "self-check"
WORDS = "It works."

Report = Callable[[Finding], None]


async def run(loaded: Loaded, report: Report) -> bool:
    """Try everything, and report each thing as it is found. True if all is well."""
    report(Finding("version", "ok", str(assets.build())))
    try:
        has_model = await _has_model(loaded.settings, report)
    except JanError as error:
        report(Finding("engine", "failure", error.message, error.hint))
        return False
    with _temporary_home(loaded.settings.home if has_model else None) as home:
        trial = _Trial(home, None if has_model else "", loaded.settings)
        try:
            await trial.run(report)
        except JanError as error:
            report(Finding(trial.subject, "failure", error.message, error.hint))
            return False
    return True


@dataclass
class _Trial:
    """One Jan from its start to its end."""

    home: Path
    upstream_url: str | None
    """None for an engine of Jan's own."""
    settings: Settings
    subject: str = "start"
    """What is being tried."""
    _lines: list[str] = field(default_factory=list[str])

    async def run(self, report: Report) -> None:
        if self.upstream_url is None:
            await self._run(report)
            return
        async with _model_server() as self.upstream_url:
            await self._run(report)

    async def _run(self, report: Report) -> None:
        started_s = clock.monotonic_s()
        async with process.spawn(
            process.ourselves("serve"),
            env=self._environment(),
            cwd=self.home,
            name="`jan serve`",
            stop_grace_s=STOP_GRACE_S,
            on_line=self._lines.append,
        ) as child:
            await child.until_ready(self._is_ready, timeout_s=self._start_timeout_s())
            words = f"ready after {clock.monotonic_s() - started_s:.1f} s"
            report(Finding("start", "ok", f"database, migrations and gateway are {words}"))

            self.subject = "schema"
            await self._command("migrate", "check")
            report(Finding("schema", "ok", "the tables are as this Jan expects"))

            self.subject = "key"
            lines = await self._command("key", "create", "--name", "self-check")
            key = next((line for line in lines if line.startswith("sk-")), "")
            report(Finding("key", "ok", "a key was made"))

            self.subject = "chat"
            report(Finding("chat", "ok", await self._chat(key)))

            self.subject = "stop"
            report(Finding("stop", "ok", await self._stop(child)))

    def _start_timeout_s(self) -> float:
        return START_TIMEOUT_S if self.upstream_url else self.settings.runner_start_timeout_s

    def _environment(self) -> dict[str, str]:
        """Nobody's settings but ours: a trial is the same wherever it is made."""
        said = {"JAN_HOME": str(self.home), "JAN_PORT": "0", "JAN_LOG_FORMAT": "json"}
        if file := assets.executable():
            said[EXECUTABLE] = str(file)
        if self.upstream_url is not None:
            return {**inherited(), **said, "JAN_INFERENCE_MODEL_URL": self.upstream_url}
        return {
            **inherited(),
            **said,
            "JAN_MODEL": self.settings.model,
            "JAN_ENGINE": self.settings.engine,
            "JAN_ENGINE_ARGS": self.settings.engine_args,
        }

    @property
    def _url(self) -> str | None:
        """Where it listens, as its log says."""
        for line in self._lines:
            if line.startswith("{") and (url := json.loads(line).get("url")):
                return url
        return None

    async def _is_ready(self) -> bool:
        return self._url is not None and await probe.answers(self._url, "/readyz")

    async def _command(self, *arguments: str) -> list[str]:
        """Run another command to its end. Returns what it said."""
        async with process.spawn(
            process.ourselves(*arguments), env=self._environment(), cwd=self.home
        ) as child:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                if await child.wait() != 0:
                    raise Unavailable(
                        f"`jan {' '.join(arguments[:2])}` failed.", hint="\n".join(child.last_lines)
                    )
            return child.last_lines

    async def _chat(self, key: str) -> str:
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            base_url=self._url or "", headers=headers, timeout=CHAT_TIMEOUT_S, trust_env=False
        ) as client:
            model = _checked(await client.get("/v1/models"))["data"][0]["id"]
            question: dict[str, Any] = {
                "model": model,
                "messages": [{"role": "user", "content": "Say hello."}],
                "max_tokens": 8,
            }
            answer = _checked(await client.post("/v1/chat/completions", json=question))
        said = answer["choices"][0]["message"]["content"]
        if self.upstream_url is None:
            return f"{model} said {said!r}"
        if said != WORDS:
            raise Unavailable(f"The answer that arrived is {said!r}, not {WORDS!r}.")
        return "an answer came through; no engine was tried, for none is installed with a model"

    async def _stop(self, child: Child) -> str:
        began_s = clock.monotonic_s()
        child.signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_GRACE_S):
            status = await child.wait()
        if status != 0:
            raise Unavailable(
                f"`jan serve` {process.describe_end(status)}.", hint="\n".join(child.last_lines)
            )
        return f"everything ended in {clock.monotonic_s() - began_s:.1f} s"


def _checked(answer: httpx.Response) -> Any:
    if not answer.is_success:
        words = f"{answer.url.path} was answered with {answer.status_code}."
        raise Unavailable(words, hint=answer.text)
    return answer.json()


@contextmanager
def _temporary_home(lender: Path | None) -> Generator[Path]:
    """Make a home, which may have the engines and models of another."""
    with tempfile.TemporaryDirectory(prefix="jan-self-check-") as name:
        home = Path(name)
        home.chmod(0o711)  # PostgreSQL runs as another user than root
        if lender is not None:
            for shared in ("engines", "models"):
                (home / shared).symlink_to(lender / shared)
        yield home
        # What children that were killed were still writing when the folder was listed.
        shutil.rmtree(home / "run", ignore_errors=True)


async def _has_model(settings: Settings, report: Report) -> bool:
    """Whether there is an engine with a model, after unpacking those that this file carries."""
    variant = hardware.chosen(settings.engine).variant
    engine = engines.find(settings.home, bundles.find(variant))
    model = store.find(settings.home, settings.model)
    if engine and model:
        return True
    if not engine and not carried.find(variant):
        return False
    if not model and not (settings.model == demonstration.NAME and demonstration.is_carried()):
        return False
    with progress.shown() as shown:
        engine, model = await prepare.prepare(settings, shown)
    report(Finding("engine", "ok", f"{engine.name} and {model.name} are unpacked"))
    return True


@asynccontextmanager
async def _model_server() -> AsyncGenerator[str]:
    """Stand in for a model server: it has one model, which always says the same."""
    models = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0}]}
    message = {"role": "assistant", "content": WORDS}
    chat = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        head = await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(models if head.startswith(b"GET") else chat).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
