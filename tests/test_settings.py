"""Settings: four sources, one precedence, and words for every mistake."""

import json
import os
from pathlib import Path

import pytest

from jan import settings, sources, values
from jan.errors import Misconfigured

GOOGLE = {
    "OAUTH2_GOOGLE_CLIENT_ID": "1234.apps.googleusercontent.com",
    "OAUTH2_GOOGLE_CLIENT_SECRET": "GOCSPX-hunter2",
    "OAUTH2_GOOGLE_REDIRECT_URL": "https://jan.example.com/v1/auth/google/callback",
}


def corp(name: str = "corp", **changes: str) -> str:
    """Write a provider as the environment has it."""
    provider = {
        "issuer": "https://login.example.com/realms/corp",
        "client_id": "jan",
        "client_secret": "https://hunter2.example/",
        "redirect_url": "https://jan.example.com/v1/auth/corp/callback",
    }
    return json.dumps({name: provider | changes})


MAIL = {"SMTP_HOST": "mail.example.com", "SMTP_SENDER_EMAIL": "Jan <jan@example.com>"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `jan.toml` of the developer's is in the way."""
    monkeypatch.chdir(tmp_path)


def _home(tmp_path: Path, toml: str) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/jan.toml").write_text(toml, encoding="utf-8")
    return {"JAN_HOME": str(tmp_path / "home")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_url", "jan.example.com"),
        ("public_url", "https://jan.example.com/path"),
        ("public_url", "https://user@jan.example.com"),
        ("invite_redirect_url", "ftp://app.example.com/invite"),
        ("invite_redirect_url", "https://app.example.com/#invite"),
        ("invite_redirect_url", "https://user:password@app.example.com"),
        ("invite_redirect_url", "https://app.example.com/a b\nc"),
    ],
)
def test_where_links_lead_is_an_address(name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        settings.load({name: value}, environ={})


def test_jan_servers_name_of_the_invite_page_is_known() -> None:
    loaded = settings.load(environ={"INVITE_REDIRECT_URL": "https://app.example.com/invite"})

    assert loaded.settings.invite_redirect_url == "https://app.example.com/invite"


def test_flags_beat_the_environment_which_beats_the_file_which_beats_defaults(
    tmp_path: Path,
) -> None:
    environ = _home(tmp_path, 'host = "file"\nport = 1\nworkers = 3\n')
    environ |= {"JAN_HOST": "environment", "JAN_PORT": "2"}

    loaded = settings.load({"host": "flag", "port": None}, environ=environ)

    assert (loaded.settings.host, loaded.settings.port) == ("flag", 2)
    assert (loaded.settings.workers, loaded.settings.model) == (3, "SmolLM2-135M-Instruct")
    assert loaded.origins["host"] == "flag"
    assert loaded.origins["port"] == "environment (JAN_PORT)"
    assert loaded.origins["workers"].endswith("home/jan.toml")
    assert loaded.origins["model"] == "default"


def test_jan_servers_own_names_are_understood_and_ours_win() -> None:
    environ = {"DB_POSTGRESQL_WRITE_DSN": "postgresql://a/b", "JWT_SECRET": "j" * 32}

    loaded = settings.load(environ=environ)
    ours = settings.load(environ={**environ, "JAN_DATABASE_URL": "postgresql://c/d"})

    assert loaded.settings.database_url
    assert loaded.settings.database_url.get_secret_value() == "postgresql://a/b"
    assert loaded.origins["database_url"] == "environment (DB_POSTGRESQL_WRITE_DSN)"
    assert ours.settings.database_url
    assert ours.settings.database_url.get_secret_value() == "postgresql://c/d"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"JAN_PROT": "1"}, "Did you mean `JAN_PORT`"),
        ({"JAN_PORT": "70000"}, "`port` (environment (JAN_PORT))"),
        ({"JAN_PORT": "eighty"}, "`port`"),
        ({"JAN_LOG_FORMAT": "xml"}, "`log_format`"),
        ({"JAN_RUN_JOBS": "perhaps"}, "`run_jobs`"),
        ({"SMTP_HOST": "mail"}, "wants `smtp_sender_email`"),
        ({"SMTP_SENDER_EMAIL": "nobody"}, "`smtp_sender_email` (environment (SMTP_SENDER_EMAIL))"),
        ({"SMTP_SENDER_EMAIL": "a@b.c\nBcc: d@e.f"}, "must be an address"),
        ({"SMTP_SENDER_EMAIL": "a@b.c, d@e.f"}, "must be an address"),
        ({"SMTP_SENDER_EMAIL": "A <a@b.c> x"}, "must be an address"),
        ({**MAIL, "SMTP_USERNAME": "jan"}, "go together"),
        (
            {**MAIL, "SMTP_USERNAME": "jan", "SMTP_PASSWORD": "p", "JAN_SMTP_SECURITY": "none"},
            "clear",
        ),
        ({"JAN_INFERENCE_MODEL_URL": "gpu-box"}, "http://host:8000"),
        ({"JAN_INFERENCE_MODEL_URL": "http://gpu-box:99999"}, "Port out of range"),
        ({"JAN_INFERENCE_MODEL_URL": "http://me:secret@box"}, "`inference_model_api_key`"),
        ({"JAN_ALLOWED_ORIGINS": "https://a.example/path"}, "write an origin such as"),
        ({"ALLOWED_CORS_HOSTS": "jan.ai,*-x.jan.ai"}, "(environment (ALLOWED_CORS_HOSTS))"),
        ({"JAN_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "`proxy` is no IP address"),
        ({"JAN_DATABASE_URL": "mysql://x"}, "`database_url` (environment (JAN_DATABASE_URL))"),
        ({"JAN_DATABASE_URL": "db.example.com"}, "must be a PostgreSQL address"),
        ({"JAN_DATABASE_READ_URLS": "postgresql://a/b"}, "needs `database_url`"),
        ({"JAN_DATABASE_DIRECT_URL": "postgresql://a/b"}, "needs `database_url`"),
        ({"JAN_DATABASE_WAIT_S": "0"}, "`database_wait_s`"),
        ({"JAN_DATABASE_READ_MAX_LAG_S": "-1"}, "`database_read_max_lag_s`"),
        (
            {"JAN_DATABASE_URL": "host=a", "JAN_DATABASE_READ_URLS": "host=b,mysql://c"},
            "`database_read_urls.1`",
        ),
        ({"JAN_ENGINE_ARGS": "--seed '"}, "`engine_args`"),
        ({"JAN_PUBLIC_URL": "https://jan.example.com/app"}, "without a path"),
        ({"JAN_PUBLIC_URL": "jan.example.com"}, "without a path"),
        ({"JAN_PUBLIC_URL": "https://me:pw@jan.example.com"}, "without a path"),
        ({"ORGANIZATION_ADMIN_EMAILS": "ada@example.com, bob"}, "`bob` is no e-mail address"),
        ({"JAN_REGISTRATION": "everybody"}, "`registration`"),
        ({"JWT_SECRET": ""}, "at least 32 bytes"),
        ({"APIKEY_SECRET": "short"}, "at least 32 bytes"),
        ({"JAN_JWT_PREVIOUS_SECRETS": f"{'s' * 32},short"}, "`jwt_previous_secrets.1`"),
        ({"OAUTH2_GOOGLE_CLIENT_ID": "x"}, "`oauth2_google_client_secret`"),
        ({"OAUTH2_GOOGLE_CLIENT_SECRET": "x"}, "`oauth2_google_client_id`"),
        ({**GOOGLE, "OAUTH2_GOOGLE_CLIENT_SECRET": ""}, "`oauth2_google_client_secret`"),
        ({**GOOGLE, "OAUTH2_GOOGLE_REDIRECT_URL": "/back"}, "`oauth2_google_redirect_url`"),
        ({**GOOGLE, "JAN_OAUTH2_GOOGLE_ALLOWED_DOMAINS": "*"}, "write example.com"),
        ({**GOOGLE, "JAN_OIDC_PROVIDERS": corp("google")}, "choose one"),
        ({"JAN_OIDC_PROVIDERS": "corp"}, "must be JSON"),
        ({"JAN_OIDC_PROVIDERS": "[" * 100_000}, "must be JSON"),
        ({"JAN_OIDC_PROVIDERS": "[]"}, "`oidc_providers`"),
        ({"JAN_OIDC_PROVIDERS": '{"corp": {}}'}, "`oidc_providers.corp.issuer`"),
        ({"JAN_OIDC_PROVIDERS": corp(isuer="x")}, "`oidc_providers.corp.isuer`"),
        ({"JAN_OIDC_PROVIDERS": corp("Corp Inc.")}, "`Corp Inc.` is no name"),
        ({"JAN_OIDC_PROVIDERS": corp(issuer="http://login.example.com")}, "http only on this"),
        ({"JAN_OIDC_PROVIDERS": corp(issuer="https://login.example.com?x=1")}, "corp.issuer`"),
        ({"JAN_OIDC_PROVIDERS": corp(issuer="https://me:pw@login.example.com")}, "corp.issuer`"),
        ({"JAN_OIDC_PROVIDERS": corp(issuer="https://[::1")}, "corp.issuer`"),
        ({"JAN_OIDC_PROVIDERS": corp(redirect_url="https://a.b/#c")}, "corp.redirect_url`"),
        ({"JAN_OIDC_PROVIDERS": corp(client_id="ä")}, "printable ASCII"),
        ({"JAN_CONFIG": "/nowhere/jan.toml"}, "/nowhere/jan.toml"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(environ: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        settings.load(environ=environ)

    assert words in str(refusal.value)


def test_the_systems_home_has_settings_in_etc_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, etc = tmp_path / "home", tmp_path / "etc"
    monkeypatch.setattr(sources, "SYSTEM_HOME", home)
    monkeypatch.setattr(sources, "SYSTEM_CONFIG", etc)
    for folder, number in ((home, 1111), (etc, 2222)):
        folder.mkdir()
        (folder / "jan.toml").write_text(f"port = {number}\n", encoding="utf-8")

    def port(home: Path) -> int:
        return settings.load({"home": home}, environ={}).settings.port

    assert port(home) == 1111
    (home / "jan.toml").unlink()
    assert port(home) == 2222
    assert port(tmp_path / "other") == 8080


def test_the_systems_home_is_roots_and_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SYSTEM_HOME", tmp_path)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def home(uid: int, home: Path) -> Path:
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setenv("HOME", str(home))
        return settings.load(environ={}).settings.home

    assert home(0, Path("/root")) == tmp_path
    assert home(990, tmp_path) == tmp_path
    assert home(1000, Path("/home/ann")) == Path("/home/ann/.local/share/jan")


def test_where_jan_is_reached_follows_from_where_it_listens() -> None:
    def url(**said: str) -> str:
        return settings.load(said, environ={}).settings.url

    assert url() == "http://127.0.0.1:8080"
    assert url(host="0.0.0.0", port="80") == "http://127.0.0.1:80"
    assert url(host="::") == "http://[::1]:8080"
    assert url(host="10.0.0.1", public_url="https://Jan.example.com/") == "https://jan.example.com"


def test_jan_servers_list_of_origins_is_understood() -> None:
    loaded = settings.load(environ={"ALLOWED_CORS_HOSTS": "https://jan.ai, *.jan.ai"})

    assert loaded.settings.allowed_origins == ("https://jan.ai", "https://*.jan.ai")


@pytest.mark.parametrize(
    "environ",
    [
        {"JWT_SECRET": "hunter2"},
        {"JAN_JWT_PREVIOUS_SECRETS": "hunter2"},
        {"OAUTH2_GOOGLE_CLIENT_SECRET": "hunter2ä"},
        {"JAN_OIDC_PROVIDERS": '{"corp": {"client_secret": "hunter2"'},
        {"JAN_OIDC_PROVIDERS": '{"corp": {"client_secret": "hunter2", "issuer": "hunter2"}}'},
        {"JAN_OIDC_PROVIDERS": '{"corp": {"client_secret": ["hunter2"]}}'},
    ],
)
def test_a_refused_secret_is_not_repeated(environ: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as refusal:
        settings.load(environ=environ)

    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('modle = "x"\n', "Did you mean `model`"),
        ("port =\n", "Can't read"),
        ('home = "/x"\n', "`home` can't be set"),
        ("[port]\n", "`port`"),
    ],
)
def test_a_bad_file_is_refused_by_its_path(tmp_path: Path, toml: str, words: str) -> None:
    environ = _home(tmp_path, toml)

    with pytest.raises(Misconfigured) as refusal:
        settings.load(environ=environ)

    assert words in str(refusal.value)
    assert "jan.toml" in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("postgresql://a/b", ["postgresql://a/b"]),
        ("postgresql://a/b,postgres://c/d", ["postgresql://a/b", "postgres://c/d"]),
        (" postgresql://a/b , host=c dbname=d,", ["postgresql://a/b", "host=c dbname=d"]),
        ("postgresql://me:a,b@c/d, host=e", ["postgresql://me:a,b@c/d", "host=e"]),
        ("postgresql://a,b:5433/c", ["postgresql://a,b:5433/c"]),
        ("host=a,b user=me,host=c", ["host=a,b user=me", "host=c"]),
    ],
)
def test_a_comma_between_databases_is_told_from_one_within(
    given: str, addresses: list[str]
) -> None:
    environ = {"JAN_DATABASE_URL": "host=a", "JAN_DATABASE_READ_URLS": given}

    read = settings.load(environ=environ).settings.database_read_urls

    assert [address.get_secret_value() for address in read] == addresses


def test_passwords_are_never_shown() -> None:
    loaded = settings.load(
        environ={"JAN_DATABASE_URL": "postgresql://me:hunter2@db:5433/jan", "JWT_SECRET": "s" * 32}
    )

    text = values.shown(loaded.settings.database_url) + values.shown(loaded.settings.jwt_secret)

    assert text == "postgresql://me:***@db:5433/jan***"
    assert "hunter2" not in repr(loaded)


@pytest.mark.parametrize("given", ["http://box:8000", "http://box:8000/", "http://box:8000/v1/"])
def test_the_upstream_may_be_given_with_or_without_v1(given: str) -> None:
    loaded = settings.load(environ={"JAN_INFERENCE_MODEL_URL": given})

    assert loaded.settings.upstream_url == "http://box:8000"


def test_a_child_loads_the_same_settings(tmp_path: Path) -> None:
    environ = _home(tmp_path, "workers = 3\n")
    parent = settings.load(
        {
            "port": 9,
            "database_read_urls": ["postgresql://a:b,c@d/e", "postgresql://f/g"],
            "allowed_origins": ["*.a.example", "localhost:3000"],
            "trusted_proxies": ["10.0.0.0/8", "::1"],
        },
        environ={**environ, "JAN_DATABASE_URL": "postgresql://h/i"},
    )

    told = parent.environment(runner_port=77)
    child = settings.load(environ={**told, "JAN_DATABASE_URL": "postgresql://h/i"})

    changed = parent.settings.model_copy(update={"runner_port": 77})
    assert child.settings == changed


def test_google_is_one_provider_and_a_table_makes_more(tmp_path: Path) -> None:
    environ = _home(
        tmp_path,
        "[oidc_providers.corp]\n"
        'issuer = "https://login.example.com/"\n'
        'client_id = "jan"\n'
        'client_secret = "hunter2"\n'
        'redirect_url = "https://jan.example.com/v1/auth/corp/callback"\n'
        'allowed_domains = ["Example.com", "@example.org"]\n',
    )
    environ |= GOOGLE | {"JAN_OAUTH2_GOOGLE_ALLOWED_DOMAINS": "example.com, example.net"}

    providers = settings.load(environ=environ).settings.sign_in_providers

    assert list(providers) == ["google", "corp"]
    assert providers["google"].issuer == "https://accounts.google.com"
    assert providers["google"].client_secret.get_secret_value() == "GOCSPX-hunter2"
    assert providers["google"].allowed_domains == ("example.com", "example.net")
    assert providers["corp"].issuer == "https://login.example.com/"
    assert providers["corp"].scopes == ("openid", "email", "profile")
    assert providers["corp"].allowed_domains == ("example.com", "example.org")


def test_nobody_signs_in_elsewhere_until_a_provider_is_configured() -> None:
    empty = dict.fromkeys(GOOGLE, "") | {"JAN_OIDC_PROVIDERS": ""}

    assert settings.load(environ={}).settings.sign_in_providers == {}
    assert settings.load(environ=empty).settings.sign_in_providers == {}


def test_a_providers_secret_is_never_shown() -> None:
    loaded = settings.load(environ={"JAN_OIDC_PROVIDERS": corp()})

    text = values.shown(loaded.settings.oidc_providers)

    assert json.loads(text)["corp"]["client_secret"] == "***"
    assert json.loads(text)["corp"]["client_id"] == "jan"
    assert "hunter2" not in text + repr(loaded)
    assert values.shown({}) == ""


def test_a_child_loads_the_same_providers() -> None:
    told = {"oidc_providers": json.loads(corp()), "jwt_previous_secrets": ["a" * 32, "b" * 32]}
    parent = settings.load(told, environ={})

    child = settings.load(environ=parent.environment())

    assert child.settings == parent.settings
    assert child.settings.sign_in_providers == parent.settings.sign_in_providers


def test_a_model_that_is_named_stands_for_those_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "jan.toml"
    file.write_text('[[models]]\nname = "a"\ninstances = 2\n\n[[models]]\nname = "b"\n')

    def names(flags: dict[str, str], environ: dict[str, str]) -> list[str]:
        loaded = settings.load(flags, config=file, environ={"JAN_HOME": str(tmp_path), **environ})
        return [each.name for each in loaded.settings.deployments]

    assert names({}, {}) == ["a", "b"]
    assert names({"model": "c"}, {}) == ["c"]
    assert names({}, {"JAN_MODEL": "c"}) == ["c"]
    assert names({}, {"JAN_MODELS": '[{"name": "d"}]'}) == ["d"]


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ("nonsense", "must be JSON"),
        ('[{"name": "a"}, {"name": "a"}]', "twice"),
        ('[{"name": "../a"}]', "model store"),
        ('[{"name": "a", "instances": 0}]', "instances"),
        ('[{"name": "a", "what": 1}]', "what"),
        ('[{"name": "a", "engine_args": "\'"}]', "words"),
        ("{}", "models"),
    ],
)
def test_models_that_can_not_be_run_are_refused(tmp_path: Path, models: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        settings.load({}, environ={"JAN_HOME": str(tmp_path), "JAN_MODELS": models})


def test_models_reach_child_processes(tmp_path: Path) -> None:
    environ = {"JAN_HOME": str(tmp_path), "JAN_MODELS": '[{"name": "a", "gpus": [0, 1]}]'}
    loaded = settings.load({}, environ=environ)

    child = loaded.environment(models=loaded.settings.models)

    again = settings.load({}, environ={k: v for k, v in child.items() if k.startswith("JAN_")})
    assert again.settings.models == loaded.settings.models


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ({"name": "Acme"}, "small letters"),
        ({"name": "configured"}, "gives by itself"),
        ({"name": "runner.box"}, "gives by itself"),
        ({"urls": []}, "urls"),
        ({"urls": ["acme.example"]}, "http://host:8000"),
        ({"kind": "ollama"}, "kind"),
        ({"api_key": "sk a"}, "header"),
        ({"api_key_file": "/nowhere/key"}, "can't read /nowhere/key"),
        ({"api_key": "sk", "api_key_file": "/nowhere/key"}, "choose one"),
        ({"prefix": "a b"}, "without spaces"),
        ({"max_running": 0}, "max_running"),
        ({"url": "http://acme.example"}, "url"),
    ],
)
def test_model_servers_that_can_not_be_asked_are_refused(
    provider: dict[str, object], words: str
) -> None:
    table = {"name": "acme", "urls": ["http://acme.example"], **provider}

    with pytest.raises(Misconfigured, match=words) as refused:
        settings.load(environ={"JAN_PROVIDERS": json.dumps([table])})

    assert "sk a" not in refused.value.message


def test_a_model_server_is_named_once() -> None:
    table = {"name": "acme", "urls": ["http://acme.example"]}

    with pytest.raises(Misconfigured, match="`acme` twice"):
        settings.load({"providers": [table, table]}, environ={})


def test_model_servers_and_their_keys_reach_child_processes(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-lab\n", encoding="utf-8")
    tables = [
        {"name": "acme", "urls": ["http://acme.example/v1"], "api_key": "sk-acme"},
        {"name": "lab", "urls": ["http://lab.example"], "api_key_file": str(tmp_path / "key")},
    ]
    parent = settings.load({"providers": tables}, environ={})

    child = settings.load(environ=parent.environment())

    assert child.settings == parent.settings
    assert [each.read_key() for each in child.settings.providers] == ["sk-acme", "sk-lab"]
    assert "sk-acme" not in repr(parent) + values.shown(parent.settings.providers)
