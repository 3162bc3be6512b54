"""Every setting of Jan: its type, bound, default and what it does; and where a value came from.

Precedence: command-line flags > environment (`JAN_*`) > `jan.toml` > defaults. Unknown names are
refused, with the nearest known one.

`jan.toml` is looked for in `--config`/`JAN_CONFIG`, then the working directory, then JAN_HOME, and
last, if that is `/var/lib/jan`, in `/etc/jan`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from jan import issuers, redis_address, sources, trust, values
from jan.errors import Misconfigured
from jan.inference_settings import InferenceSettings


def default_home() -> Path:
    """Where state lives when nobody says: the user's own place, or the system's.

    That is for root, and for the user of the service, who is at home there.
    """
    if os.geteuid() == 0 or Path("~").expanduser() == sources.SYSTEM_HOME:
        return sources.SYSTEM_HOME
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "jan"


def choose_home(said: Mapping[str, Any], environ: Mapping[str, str]) -> Path:
    """Tell which folder JAN_HOME is, by what was said on the command line, and the environment."""
    home = said.get("home") or environ.get(sources.variable("home")) or default_home()
    return Path(home).expanduser().absolute()


class Settings(InferenceSettings):
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
    private_host: str = "127.0.0.1"
    """Address for what is the operator's alone: metrics. Whoever reaches it may read them."""
    private_port: int = Field(default=6060, ge=0, le=65535)
    """Port for that. 0 takes any free one, and so does the default where `port` is 0. One that is
    used by another program is told in the log, and Jan goes on without."""
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
    public_url: Annotated[str | None, AfterValidator(values.site)] = None
    """Where people reach Jan, such as `https://jan.example.com`: links in mails begin with it. Not
    set: `host` and `port`, as seen from this machine."""
    mcp_allowed_hosts: Annotated[
        tuple[str, ...], BeforeValidator(values.split), AfterValidator(trust.hosts)
    ] = ()
    """Names by which MCP clients may call Jan (`/v1/mcp`), beside those that need no mention: IP
    addresses, `localhost`, this machine's own name, and the hosts of `public_url` and
    `allowed_origins`. A request for any other may be a strange web page's (DNS rebinding)."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """How log lines look. `auto` is `console` on a terminal and `json` elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important kind of line that is still written."""

    database_url: values.Address | None = None
    """PostgreSQL to use, `postgresql://user:password@host/name`. Not set: Jan runs its own."""
    database_migration_url: values.Address | None = None
    """The same database for the owner of its tables, who migrates. Not set: `database_direct_url`,
    or else `database_url`."""
    database_direct_url: Annotated[
        values.Address | None, AfterValidator(values.beside_a_primary)
    ] = None
    """The same database, past the pooler in transaction mode (PgBouncer) that `database_url` leads
    through: notifications, locks and the job queue need it. Not set: there is no pooler."""
    database_read_urls: Annotated[
        tuple[values.Address, ...],
        BeforeValidator(values.split_addresses),
        AfterValidator(values.beside_a_primary),
    ] = ()
    """Streaming replicas of that database. Lists and reports are read from them, in turns, of which
    one with `?weight=3` in its address gets three."""
    database_read_max_lag_s: float = Field(default=5.0, gt=0, le=600)
    """How far behind a replica may be. One that is further behind is not read until it is not."""
    database_pool_size: int = Field(default=10, ge=1, le=500)
    """Most connections that one process opens to the primary for requests."""
    database_read_pool_size: int = Field(default=10, ge=1, le=500)
    """Most connections that one process opens to each replica for requests."""
    database_wait_s: float = Field(default=5.0, gt=0, le=60)
    """How long a request waits for one of them to become free, before it gets 503."""

    redis_url: values.RedisUrl | None = None
    """Valkey or Redis for what all gateways count and keep together: `redis://host:6379/0`, with
    TLS `rediss://`, a cluster `redis+cluster://host` or with several hosts, a socket
    `unix:///path`. Not set, or while it is away: PostgreSQL."""
    redis_password: SecretStr | None = None
    """Password for it, in place of one in `redis_url`."""

    server: Annotated[str | None, AfterValidator(values.http_url)] = None
    """Another Jan that `jan key` and the like are to administer, over HTTP. Not set: this one."""
    admin_key: SecretStr | None = None
    """Admin key for that server."""

    heartbeat_s: float = Field(default=15.0, gt=0)
    """Silence in a stream after which a comment is sent, so that no proxy closes it."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Longest request body. Longer ones get 413."""
    drain_grace_s: float = Field(default=30.0, ge=0)
    """How long running requests may go on after SIGTERM."""

    outbound_schemes: Annotated[
        tuple[Literal["http", "https"], ...], BeforeValidator(values.split)
    ] = ("http", "https")
    """Schemes of what Jan fetches for users: images and pages that they name by URL, tools of
    others. An empty list in `jan.toml` keeps Jan from fetching anything."""
    outbound_ports: Annotated[tuple[values.Port, ...], BeforeValidator(values.split)] = (80, 443)
    """Ports of what is fetched for users."""
    outbound_allow: Annotated[
        tuple[values.AllowedDestination, ...], BeforeValidator(values.split)
    ] = ()
    """What may be fetched for users though it is not on the public internet: hosts such as
    `wiki.internal`, all `*.corp.example.com`, addresses, networks such as `10.1.0.0/16`. With a
    port, `tools.internal:8931`, on this port only; one of public hosts opens a port for them."""
    outbound_timeout_s: float = Field(default=15.0, gt=0)
    """Longest time that one fetch may take, with all its redirects and to its last byte."""
    outbound_max_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Longest answer that is taken for users, decompressed."""
    outbound_max_redirects: int = Field(default=5, ge=0, le=50)
    """How often one fetch may be sent elsewhere. Each place is looked at as the first was."""

    serper_api_key: SecretStr | None = None
    """Key for serper.dev. Set: tools search with Google, and read pages, by Serper."""
    serper_url: Annotated[str, AfterValidator(values.service_url)] = "https://google.serper.dev"
    """Where Serper searches."""
    serper_scrape_url: Annotated[str, AfterValidator(values.service_url)] = (
        "https://scrape.serper.dev"
    )
    """Where Serper reads pages."""
    searxng_url: Annotated[str | None, AfterValidator(values.service_url)] = None
    """A SearXNG to search with, such as `http://searxng.internal:8080`. Its `settings.yml` has to
    list `json` under `search.formats`."""
    searxng_safe_search: Literal["off", "moderate", "strict"] | None = None
    """What SearXNG leaves out. Not set: as it is set up itself."""
    search_provider: Literal["auto", "serper", "searxng", "none"] = "auto"
    """What `google_search` and `web_search` ask. `auto` is `serper` where it has a key, else
    `searxng` where it has an address, else `none`."""
    scrape_provider: Literal["auto", "serper", "local", "none"] = "auto"
    """What `scrape` reads pages with. `auto` is `serper` where it has a key, else `local`: Jan
    fetches them itself, within what the outbound settings allow."""
    search_timeout_s: float = Field(default=20.0, gt=0)
    """Longest wait for the provider, with all tries."""
    search_cache_s: float = Field(default=900.0, ge=0)
    """How long the same question gets the same answer without asking again. 0: never."""
    search_cache_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """How much of those answers is kept in the database, about."""
    tool_calls_per_minute: int = Field(default=120, ge=1)
    """How many tools one project may call in a minute, on all gateways together."""
    tool_timeout_s: float = Field(default=60.0, gt=0)
    """Longest time for one call of a tool."""

    run_jobs: bool = True
    """Whether gateway processes do background work (responses, mail, cleaning). False: `jan worker`
    does."""
    background_responses: int = Field(default=32, ge=2, le=1000)
    """Most responses with `background: true` that one process makes at once. The others wait."""
    background_timeout_s: float = Field(default=3600.0, gt=0)
    """How long one of them may take, from when it is begun. It fails after that."""
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

    invite_redirect_url: Annotated[str | None, AfterValidator(values.page)] = None
    """Page of another site to accept invites on; it gets the code as `?code=`, and posts it to
    `/v1/organization/invites/verification`. Not set: Jan's own page."""

    jwt_secret: values.Secret = None
    """Key that signs sign-in tokens. Not set: made once and kept in `secrets.toml`."""
    api_key_secret: values.Secret = None
    """Key of the HMAC under which API keys are stored. Not set: made once, as above."""
    jwt_previous_secrets: Annotated[
        tuple[values.LongSecret, ...], BeforeValidator(values.split)
    ] = ()
    """What `jwt_secret` was before: tokens signed with one of these are good until they expire."""

    organization_admin_emails: Annotated[
        tuple[str, ...], BeforeValidator(values.split), AfterValidator(values.addresses)
    ] = ()
    """People who own the default organization, and with it all of Jan. At each start they are made
    its owners, and registered if nobody knows them."""
    registration: Literal["invited", "open"] = "invited"
    """Who may come in. `invited`: who was invited, or signs in at a provider with
    `allowed_domains`. `open`: also whoever else can sign in at a provider."""
    guest_login: bool = False
    """Whether anybody may come in as a guest, with a project of their own and nothing else."""

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
    """Google Workspace domains whose accounts may sign in. Empty: see `registration`."""
    oidc_providers: issuers.Providers = Field(default={})
    """Other OpenID providers to sign in with, each a table under its name."""

    @field_validator("search_provider", "scrape_provider")
    @classmethod
    def _has_what_it_needs(cls, provider: str, info: ValidationInfo) -> str:
        needed = {"serper": "serper_api_key", "searxng": "searxng_url"}.get(provider)
        if needed is not None and info.data.get(needed, "refused") is None:
            raise ValueError(f"`{provider}` wants `{needed}` too")
        return provider

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
    def redis(self) -> redis_address.RedisAddress | None:
        """The Valkey or Redis, with its password wherever that is said."""
        if self.redis_url is None:
            return None
        found = redis_address.read(self.redis_url.get_secret_value())
        password = self.redis_password and self.redis_password.get_secret_value()
        return replace(found, password=password or found.password)

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
    def url(self) -> str:
        """Where people reach Jan, without a slash at the end."""
        return self.public_url or self.local_url

    @property
    def local_url(self) -> str:
        """Where this machine reaches Jan."""
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{local}]" if ":" in local else local
        return f"http://{host}:{self.port}"


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
                child[sources.variable(name)] = values.as_text(getattr(self.settings, name))
        if self.config_path is not None:
            child["JAN_CONFIG"] = str(self.config_path)
        child["JAN_HOME"] = str(self.settings.home)
        child.update(
            {sources.variable(name): values.as_text(value) for name, value in changes.items()}
        )
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
    from_environment, variables = sources.read_environment(environ, Settings.model_fields)
    home = choose_home(said, environ)
    named = environ.get("JAN_CONFIG")
    path = sources.find_file(config or (Path(named).expanduser() if named else None), home)
    from_file = sources.read_file(path, Settings.model_fields) if path else {}

    # Who names one model means it in place of those that a weaker source lists.
    if "model" in said:
        from_environment.pop("models", None)
    if "model" in said or "model" in from_environment:
        from_file.pop("models", None)

    found = {**from_file, **from_environment, **said}
    found["home"] = home
    origins = dict.fromkeys(Settings.model_fields, "default")
    origins.update(dict.fromkeys(from_file, str(path)))
    origins.update({name: f"environment ({variables[name]})" for name in from_environment})
    origins.update(dict.fromkeys(said, "flag"))
    try:
        settings = Settings.model_validate(found)
    except ValidationError as error:
        raise Misconfigured(_explain(error, origins)) from None
    return Loaded(settings, origins, path)


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name, place = str(problem["loc"][0]), ".".join(map(str, problem["loc"]))
        words = problem["msg"].removeprefix("Value error, ")
        lines.append(f"`{place}` ({origins.get(name, 'flag')}): {words}")
    return "; ".join(lines)
