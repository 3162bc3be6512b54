"""Settings of models and engines: which run here, which are elsewhere, how requests reach them."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from jan import deployments, values
from jan.deployments import Deployment
from jan.providers import MAX_PROVIDERS, Provider, named_once


class InferenceSettings(BaseModel):
    """The part of the settings that model servers and their clients read."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    inference_model_url: Annotated[str | None, AfterValidator(values.http_url)] = None
    """An OpenAI-compatible server to pass requests to. Set: no engine is started here."""
    inference_model_api_key: SecretStr | None = None
    """Bearer token that this server wants."""
    providers: Annotated[
        tuple[Provider, ...],
        BeforeValidator(deployments.from_json),
        AfterValidator(named_once),
        Field(max_length=MAX_PROVIDERS),
    ] = ()
    """Servers that have models, each a `[[providers]]` table, beside those that operators add."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    """Longest wait for a connection to a model server."""
    upstream_timeout_s: float = Field(default=600.0, gt=0)
    """Longest wait for the beginning of a model server's answer. An answer in one piece begins when
    it is complete."""
    upstream_retries: int = Field(default=2, ge=0, le=10)
    """How often a request that failed before the first byte of its answer is tried elsewhere."""
    queue_size: int = Field(default=1000, ge=0)
    """Most requests that wait in one gateway process for one model. More get 503, and those of a
    project that has more than its share of the places 429."""
    queue_timeout_s: float = Field(default=60.0, gt=0)
    """Longest wait there."""
    health_interval_s: float = Field(default=5.0, gt=0)
    """Between two looks at an instance that is well. One that is not is looked at more often."""
    health_timeout_s: float = Field(default=10.0, gt=0)
    """Longest wait for its answer."""

    model: str = "SmolLM2-135M-Instruct"
    """Model that `jan serve` and `jan runner` load, by its name in the model store."""
    models: Annotated[
        tuple[Deployment, ...],
        BeforeValidator(deployments.from_json),
        AfterValidator(deployments.distinct),
        Field(max_length=deployments.MAX_DEPLOYMENTS),
    ] = ()
    """Models that `jan serve` runs, each a `[[models]]` table. None: the one that `model` names."""
    engine: Literal["auto", "cpu", "cuda"] = "auto"
    """Engine variant. `auto` picks `cuda` where an NVIDIA GPU is seen, else `cpu`."""
    engine_args: Annotated[str, AfterValidator(values.words)] = ""
    """More options for vLLM's server, as on its command line."""
    runner_host: str = "127.0.0.1"
    """Address that `jan runner` alone listens on. The engine has no authentication of its own."""
    runner_port: int = Field(default=8101, ge=1, le=65535)
    """Port that `jan runner` alone listens on."""
    runner_socket: Annotated[Path | None, AfterValidator(values.absolute)] = None
    """Unix socket for the engine, in place of address and port. In `jan serve` every engine has
    one: `JAN_HOME/run/engine/MODEL-1/http.sock` the first of a model, where none is named."""
    runner_start_timeout_s: float = Field(default=1800.0, gt=0)
    """From spawn to the first healthy answer. Large weights take minutes to load."""
    runner_stop_grace_s: float = Field(default=15.0, ge=0)
    """From SIGTERM to SIGKILL of the engine."""
    model_store_max_bytes: int | None = Field(default=None, ge=0)
    """Most that the model store may hold. What would not fit is refused before it is fetched."""

    @property
    def manages_engine(self) -> bool:
        """Whether Jan runs its own engine."""
        return self.inference_model_url is None

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """The models that run here, if any do."""
        if not self.manages_engine:
            return ()
        return self.models or (Deployment(name=self.model, engine_args=self.engine_args),)

    @property
    def upstream_url(self) -> str:
        """Base URL of the model server, without `/v1`."""
        return self.inference_model_url or self.runner_url

    @property
    def runner_url(self) -> str:
        """Base URL of the engine that `jan runner` starts, `unix:///path` if it has a socket."""
        if self.runner_socket is not None:
            return f"unix://{quote(str(self.runner_socket))}"
        host = f"[{self.runner_host}]" if ":" in self.runner_host else self.runner_host
        return f"http://{host}:{self.runner_port}"
