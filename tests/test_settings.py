"""Settings: four sources, one precedence, and words for every mistake."""

from pathlib import Path

import pytest

from jan import settings
from jan.errors import Misconfigured


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `jan.toml` of the developer's is in the way."""
    monkeypatch.chdir(tmp_path)


def _home(tmp_path: Path, toml: str) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/jan.toml").write_text(toml, encoding="utf-8")
    return {"JAN_HOME": str(tmp_path / "home")}


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
        ({"JAN_INFERENCE_MODEL_URL": "gpu-box"}, "http://host:8000"),
        ({"JAN_INFERENCE_MODEL_URL": "http://gpu-box:99999"}, "Port out of range"),
        ({"JAN_INFERENCE_MODEL_URL": "http://me:secret@box"}, "`inference_model_api_key`"),
        ({"JAN_ALLOWED_ORIGINS": "https://a.example/path"}, "write an origin such as"),
        ({"ALLOWED_CORS_HOSTS": "jan.ai,*-x.jan.ai"}, "(environment (ALLOWED_CORS_HOSTS))"),
        ({"JAN_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "`proxy` is no IP address"),
        ({"JWT_SECRET": ""}, "at least 32 bytes"),
        ({"APIKEY_SECRET": "short"}, "at least 32 bytes"),
        ({"JAN_CONFIG": "/nowhere/jan.toml"}, "/nowhere/jan.toml"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(environ: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        settings.load(environ=environ)

    assert words in str(refusal.value)


def test_jan_servers_list_of_origins_is_understood() -> None:
    loaded = settings.load(environ={"ALLOWED_CORS_HOSTS": "https://jan.ai, *.jan.ai"})

    assert loaded.settings.allowed_origins == ("https://jan.ai", "https://*.jan.ai")


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(Misconfigured) as refusal:
        settings.load(environ={"JWT_SECRET": "hunter2"})

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


def test_passwords_are_never_shown() -> None:
    loaded = settings.load(
        environ={"JAN_DATABASE_URL": "postgresql://me:hunter2@db:5433/jan", "JWT_SECRET": "s" * 32}
    )

    text = settings.shown(loaded.settings.database_url) + settings.shown(loaded.settings.jwt_secret)

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
            "database_read_urls": ["postgresql://a/b", "postgresql://c/d"],
            "allowed_origins": ["*.a.example", "localhost:3000"],
            "trusted_proxies": ["10.0.0.0/8", "::1"],
        },
        environ={**environ, "JAN_HOST": "here"},
    )

    child = settings.load(environ={**parent.environment(runner_port=77), "JAN_HOST": "here"})

    changed = parent.settings.model_copy(update={"runner_port": 77})
    assert child.settings == changed
