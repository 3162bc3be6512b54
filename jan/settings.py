"""Every setting of Jan: its type, bound, default and what it does; and where a value came from.

Precedence: command-line flags > environment (`JAN_*`) > `jan.toml` > defaults. Unknown names are
refused, with the nearest known one. Nothing else in Jan reads the environment; what is meant for
programs that Jan starts is handed on by `inherited`.

`jan.toml` is looked for in `--config`/`JAN_CONFIG`, then the working directory, then JAN_HOME.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from jan import issuers, trust, values
from jan.errors import Misconfigured

ALIASES = {
    "DB_POSTGRESQL_WRITE_DSN": "database_url",
    "DB_POSTGRESQL_READ1_DSN": "database_read_urls",
    "JWT_SECRET": "jwt_secret",
    "APIKEY_SECRET": "api_key_secret",
    "ALLOWED_CORS_HOSTS": "allowed_origins",
    "OAUTH2_GOOGLE_CLIENT_ID": "oauth2_google_client_id",
    "OAUTH2_GOOGLE_CLIENT_SECRET": "oauth2_google_client_secret",
    "OAUTH2_GOOGLE_REDIRECT_URL": "oauth2_google_redirect_url",
    "SMTP_HOST": "smtp_host",
    "SMTP_PORT": "smtp_port",
    "SMTP_USERNAME": "smtp_username",
    "SMTP_PASSWORD": "smtp_password",
    "SMTP_SENDER_EMAIL": "smtp_sender_email",
}
"""Jan Server's names for the same settings. `JAN_*` wins where both are set."""

NOT_SETTINGS = frozenset({"JAN_CONFIG", "JAN_VERSION"})
"""Variables of ours that say where to look rather than how to behave."""

NEVER_EMPTY = frozenset({"jwt_secret", "api_key_secret"})
"""An empty variable is how shells and Kubernetes say "unset". For these that would silently replace
what the operator meant to configure with a secret of our own."""


def default_home() -> Path:
    """Where state lives when nobody says: the system's place for root, the user's own otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/jan")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "jan"


class Settings(BaseModel):
    """How this Jan is to run. Frozen: a changed setting takes effect at the next start."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    home: Path = Field(default_factory=default_home)
    """Folder for everything Jan keeps: database, engines, models, secrets, logs."""
    host: str = "127.0.0.1"
    """Address to listen on. `0.0.0.0` makes Jan reachable from other machines."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on. 0 takes any free one."""
    workers: int = Field(default=1, ge=1, le=256)
    """Gateway processes behind the one port. One serves thousands of requests a second."""
    allowed_origins: Annotated[
        tuple[str, ...], BeforeValidator(values.split), AfterValidator(trust.origins)
    ] = ()
    """Origins whose web pages may call Jan from a browser, with credentials: exact ones such as
    `https://app.example.com`, or `https://*.example.com` for every name below `example.com`.
    Scheme and port count. `*` alone allows any origin, without credentials."""
    trusted_proxies: Annotated[
        tuple[values.TrustedNetwork, ...], BeforeValidator(values.split)
    ] = ()
    """Addresses or networks of the proxies before Jan, such as `10.0.0.0/8`. Only these are
    believed what `X-Forwarded-For` and `X-Forwarded-Proto` say of the client."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """How log lines look. `auto` is `console` on a terminal and `json` elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important kind of line that is still written."""

    database_url: values.Address | None = None
    """PostgreSQL to use, `postgresql://user:password@host/name`. Not set: Jan runs its own."""
    database_migration_url: values.Address | None = None
    """The same database for the owner of its tables, who migrates. Not set: `database_url`."""
    database_read_urls: Annotated[
        tuple[values.Address, ...],
        BeforeValidator(values.split_addresses),
        AfterValidator(values.beside_a_primary),
    ] = ()
    """Read replicas of that database. Reports are read from them, in turns, while they answer."""
    database_pool_size: int = Field(default=10, ge=1, le=500)
    """Most connections that one process opens to one database."""

    server: Annotated[str | None, AfterValidator(values.http_url)] = None
    """Another Jan that `jan key` and the like are to administer, over HTTP. Not set: this one."""
    admin_key: SecretStr | None = None
    """Admin key for that server."""

    inference_model_url: Annotated[str | None, AfterValidator(values.http_url)] = None
    """An OpenAI-compatible server to pass requests to. Set: no engine is started here."""
    inference_model_api_key: SecretStr | None = None
    """Bearer token that this server wants."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    """Longest wait for a connection to a model server."""
    heartbeat_s: float = Field(default=15.0, gt=0)
    """Silence in a stream after which a comment is sent, so that no proxy closes it."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Longest request body. Longer ones get 413."""
    drain_grace_s: float = Field(default=30.0, ge=0)
    """How long running requests may go on after SIGTERM."""

    model: str = "SmolLM2-135M-Instruct"
    """Model that `jan serve` and `jan runner` load, by its name in the model store."""
    engine: Literal["auto", "cpu", "cuda"] = "auto"
    """Engine variant. `auto` picks `cuda` where an NVIDIA GPU is seen, else `cpu`."""
    engine_args: Annotated[str, AfterValidator(values.words)] = ""
    """More options for vLLM's server, as on its command line."""
    runner_host: str = "127.0.0.1"
    """Address that `jan runner` alone listens on. The engine has no authentication of its own."""
    runner_port: int = Field(default=8101, ge=1, le=65535)
    """Port that `jan runner` alone listens on."""
    runner_socket: Annotated[Path | None, AfterValidator(values.absolute)] = None
    """Unix socket for the engine, in place of address and port. `jan serve` always has one:
    `JAN_HOME/run/engine/http.sock` where none is named."""
    runner_start_timeout_s: float = Field(default=1800.0, gt=0)
    """From spawn to the first healthy answer. Large weights take minutes to load."""
    runner_stop_grace_s: float = Field(default=15.0, ge=0)
    """From SIGTERM to SIGKILL of the engine."""

    run_jobs: bool = True
    """Whether gateway processes do background work (mail, cleaning). False: `jan worker` does."""
    smtp_host: str | None = None
    """Mail server to send by. Not set: no mail is sent, and who asks for one is shown its link."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    """Port of the mail server."""
    smtp_username: str | None = None
    """User at the mail server. Not set: it takes mail from us without."""
    smtp_password: SecretStr | None = None
    """Password of that user."""
    smtp_sender_email: Annotated[str | None, AfterValidator(values.mailbox)] = None
    """Sender of all mail, `jan@example.com` or `Jan <jan@example.com>`."""
    smtp_security: Literal["auto", "starttls", "tls", "none"] = Field(
        default="auto", validate_default=True
    )
    """How mail is encrypted. `auto` is `tls` on port 465 and `starttls` on others; neither goes on
    in clear. `none` is for a relay nearby, and refused where there is a password."""

    jwt_secret: values.Secret = None
    """Key that signs sign-in tokens. Not set: made once and kept in `secrets.toml`."""
    api_key_secret: values.Secret = None
    """Key of the HMAC under which API keys are stored. Not set: made once, as above."""
    jwt_previous_secrets: Annotated[
        tuple[values.LongSecret, ...], BeforeValidator(values.split)
    ] = ()
    """What `jwt_secret` was before: tokens signed with one of these are good until they expire."""

    oauth2_google_client_id: issuers.ClientId | None = None
    """What Google calls this Jan. Set: people can sign in with Google."""
    oauth2_google_client_secret: issuers.ClientSecret | None = None
    """Proves to Google that it is this Jan."""
    oauth2_google_redirect_url: Annotated[
        issuers.RedirectUrl | None,
        AfterValidator(issuers.google_is_whole),
        Field(validate_default=True),
    ] = None
    """Where Google sends people back to, as it is registered there."""
    oauth2_google_allowed_domains: Annotated[issuers.Domains, BeforeValidator(values.split)] = ()
    """Google Workspace domains whose accounts may sign in. Empty: all of Google's accounts."""
    oidc_providers: issuers.Providers = {}
    """Other OpenID providers to sign in with, each a table under its name."""

    @field_validator("smtp_security")
    @classmethod
    def _fits_the_other_mail_settings(cls, security: str, info: ValidationInfo) -> str:
        said = info.data  # without those that were refused already
        if said.get("smtp_host") is not None:
            if said.get("smtp_sender_email", "refused") is None:
                raise ValueError("`smtp_host` wants `smtp_sender_email` too")
            if (said.get("smtp_username") is None) != (said.get("smtp_password") is None):
                raise ValueError("`smtp_username` and `smtp_password` go together")
            if security == "none" and said.get("smtp_password") is not None:
                raise ValueError("`none` would send the password in clear")
        return security

    @property
    def run_dir(self) -> Path:
        """Sockets and lock files: meaningless after a restart."""
        return self.home / "run"

    @property
    def manages_database(self) -> bool:
        """Whether Jan runs its own PostgreSQL."""
        return self.database_url is None

    @property
    def manages_engine(self) -> bool:
        """Whether Jan runs its own engine."""
        return self.inference_model_url is None

    @property
    def sign_in_providers(self) -> dict[str, issuers.OidcProvider]:
        """Every OpenID provider by its name, Google among them if it is configured."""
        client_id, secret = self.oauth2_google_client_id, self.oauth2_google_client_secret
        redirect_url, domains = self.oauth2_google_redirect_url, self.oauth2_google_allowed_domains
        if client_id is None or secret is None or redirect_url is None:
            return self.oidc_providers
        google = issuers.google(client_id, secret, redirect_url, domains)
        return {issuers.GOOGLE: google, **self.oidc_providers}

    @property
    def upstream_url(self) -> str:
        """Base URL of the model server, without `/v1`."""
        return self.inference_model_url or self.runner_url

    @property
    def own_socket(self) -> Path | None:
        """Socket of Jan's own engine. None: it has a port, or another model server is used."""
        return self.runner_socket if self.manages_engine else None

    @property
    def runner_url(self) -> str:
        """Base URL of the engine that `jan runner` starts, `unix:///path` if it has a socket."""
        if self.runner_socket is not None:
            return f"unix://{quote(str(self.runner_socket))}"
        host = f"[{self.runner_host}]" if ":" in self.runner_host else self.runner_host
        return f"http://{host}:{self.runner_port}"


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each name where its value came from, in words for a person."""

    settings: Settings
    origins: dict[str, str]
    config_path: Path | None

    def environment(self, **changes: object) -> dict[str, str]:
        """The environment in which a child process of ours loads these same settings.

        Only what flags said is added: the rest the child reads from the same places.
        """
        child = dict(os.environ)
        for name, origin in self.origins.items():
            if origin == "flag":
                child[_variable(name)] = _as_text(getattr(self.settings, name))
        if self.config_path is not None:
            child["JAN_CONFIG"] = str(self.config_path)
        child["JAN_HOME"] = str(self.settings.home)
        child.update({_variable(name): _as_text(value) for name, value in changes.items()})
        return child


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read all sources. `flags` holds what the command line said; None in it means not said.

    Raises:
        Misconfigured: an unknown name or a value that does not fit, each named with its origin.
    """
    environ = os.environ if environ is None else environ
    said = {name: value for name, value in (flags or {}).items() if value is not None}
    from_environment, variables = _read_environment(environ)
    home = Path(said.get("home") or from_environment.get("home") or default_home())
    path = _find_config(config or _path(environ.get("JAN_CONFIG")), home)
    from_file = _read_file(path) if path else {}

    values = {**from_file, **from_environment, **said}
    values["home"] = home.expanduser().absolute()
    origins = dict.fromkeys(Settings.model_fields, "default")
    origins.update(dict.fromkeys(from_file, str(path)))
    origins.update({name: f"environment ({variables[name]})" for name in from_environment})
    origins.update(dict.fromkeys(said, "flag"))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise Misconfigured(_explain(error, origins)) from None
    return Loaded(settings, origins, path)


def inherited(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for programs of others: ours, without any setting or secret of Jan's."""
    environ = os.environ if environ is None else environ
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("JAN_") and name not in ALIASES
    }


def shown(value: object) -> str:
    """A setting's value for a person's eyes: secrets and passwords are never in it."""
    if isinstance(value, SecretStr):
        return _redact(value.get_secret_value())
    if isinstance(value, tuple):
        return ", ".join(shown(part) for part in value)
    if isinstance(value, dict):
        return issuers.shown(value) if value else ""
    return "" if value is None else str(value)


def _redact(secret: str) -> str:
    try:
        parts = urlsplit(secret)
        if parts.scheme and parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            user = f"{parts.username}:***@" if parts.username else ""
            return f"{parts.scheme}://{user}{parts.hostname}{port}{parts.path}"
    except ValueError:
        pass
    return "***"


def _variable(name: str) -> str:
    return f"JAN_{name.upper()}"


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(_as_text(part) for part in value)
    if isinstance(value, dict):
        return issuers.in_clear(value)
    return str(value)


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None


def _read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values by setting, and the variable that each came from."""
    known = {_variable(name): name for name in Settings.model_fields}
    values: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for variable, name in {**ALIASES, **known}.items():  # JAN_* last: it wins
        value = environ.get(variable)
        if value is None or (value == "" and name not in NEVER_EMPTY):
            continue
        values[name], variables[name] = value, variable
    for variable in environ:
        if variable.startswith("JAN_") and variable not in known and variable not in NOT_SETTINGS:
            raise Misconfigured(
                f"Unknown variable {variable} in the environment.{_nearest(variable, known)}"
            )
    return values, variables


def _find_config(named: Path | None, home: Path) -> Path | None:
    if named is not None:
        if not named.is_file():
            raise Misconfigured(f"There is no configuration file {named}.")
        return named.absolute()
    for folder in (Path.cwd(), home):
        with suppress(PermissionError):  # whoever needs the folder says so better
            if (folder / "jan.toml").is_file():
                return (folder / "jan.toml").absolute()
    return None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"Can't read {path}: {error}") from None
    for name in content:
        if name == "home":
            raise Misconfigured(f"`home` can't be set in {path}: it says where to look for it.")
        if name not in Settings.model_fields:
            near = _nearest(name, Settings.model_fields)
            raise Misconfigured(f"Unknown setting `{name}` in {path}.{near}")
    return content


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{close[0]}`?" if close else ""


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name, place = str(problem["loc"][0]), ".".join(map(str, problem["loc"]))
        words = problem["msg"].removeprefix("Value error, ")
        lines.append(f"`{place}` ({origins.get(name, 'flag')}): {words}")
    return "; ".join(lines)
