"""Round trip: what pods of the rendered values load is what was rendered."""

from pathlib import Path
from typing import Any

import pytest

from jan import settings
from jan.deployments import Deployment
from jan.helm import carry, chart, choices, documents, merging, rendering
from jan.helm.carry import Carried
from jan.keyring import Keyring
from jan.runner.hardware import Hardware
from jan.runner.nvml import Gpu
from jan.settings import Settings
from tests.helm import pods

KEYRING = Keyring("j" * 40, "a" * 40, "d" * 40)
MEMORY = 64 * carry.GIB
PLAIN_BOX = Hardware("cpu", "no GPU", memory_bytes=MEMORY, cpus=tuple(range(9)))
GPU_BOX = Hardware(
    "cuda",
    "two",
    gpus=(Gpu(index=0, name="A"), Gpu(index=1, name="A")),
    memory_bytes=MEMORY,
    cpus=tuple(range(9)),
)
OIDC = {
    "corp": {
        "issuer": "https://login.example.com",
        "client_id": "jan",
        "client_secret": "hunter2",
        "redirect_url": "https://jan.example.com/v1/auth/oidc/corp/callback",
    }
}
SAID: dict[str, Any] = {
    "inference_model_url": "http://gpu-box:8000",
    "inference_model_api_key": "sk-box",
    "connect_timeout_s": 2.5,
    "upstream_timeout_s": 300.0,
    "upstream_retries": 4,
    "queue_size": 5000,
    "queue_timeout_s": 30.0,
    "health_interval_s": 1.0,
    "health_timeout_s": 3.0,
    "allowed_origins": ("https://app.example.com", "https://*.example.org"),
    "trusted_proxies": ("10.0.0.0/8", "fd00::/8"),
    "public_url": "https://jan.example.com",
    "mcp_allowed_hosts": ("jan.internal",),
    "log_format": "console",
    "log_level": "debug",
    "database_pool_size": 25,
    "redis_url": "rediss://jan@valkey.example/3",
    "redis_password": "p@ss/word",
    "heartbeat_s": 5.0,
    "max_body_bytes": 128 * 1024 * 1024,
    "drain_grace_s": 12.5,
    "outbound_schemes": (),
    "outbound_ports": (443, 8443),
    "outbound_allow": ("wiki.internal", "10.1.0.0/16", "tools.internal:8931"),
    "outbound_timeout_s": 7.0,
    "outbound_max_bytes": 1024 * 1024,
    "outbound_max_redirects": 0,
    "serper_api_key": "serper-key",
    "serper_url": "https://serper.example.com",
    "serper_scrape_url": "https://scrape.example.com",
    "searxng_url": "http://searxng.internal:8080",
    "searxng_safe_search": "strict",
    "search_provider": "searxng",
    "scrape_provider": "local",
    "search_timeout_s": 9.0,
    "search_cache_s": 0.0,
    "search_cache_bytes": 1024**3,
    "tool_calls_per_minute": 7,
    "tool_timeout_s": 8.0,
    "run_jobs": False,
    "background_responses": 4,
    "background_timeout_s": 60.0,
    "smtp_host": "mail.example.com",
    "smtp_port": 465,
    "smtp_username": "jan",
    "smtp_password": 'p "a" <&> s\\s',
    "smtp_sender_email": "Jan <jan@example.com>",
    "smtp_security": "tls",
    "invite_redirect_url": "https://app.example.com/invite?a=b&c=d",
    "jwt_previous_secrets": ("p" * 32, "q" * 32),
    "organization_admin_emails": ("ann@example.com", "bob@example.com"),
    "registration": "open",
    "guest_login": True,
    "oauth2_google_client_id": "1234.apps.example.com",
    "oauth2_google_client_secret": "GOCSPX-hunter2",
    "oauth2_google_redirect_url": "https://jan.example.com/v1/auth/google/callback",
    "oauth2_google_allowed_domains": ("example.com",),
    "oidc_providers": OIDC,
    "database_read_max_lag_s": 2.5,
    "database_read_pool_size": 7,
    "database_wait_s": 1.5,
}
"""Every setting that values may choose, each different from its default."""
SERVERS = (
    {"name": "acme", "urls": ("https://api.acme.example",), "api_key": "sk-acme"},
    {
        "name": "lab",
        "urls": ("http://one.example", "http://two.example"),
        "kind": "jan",
        "prefix": "lab/",
        "models": ("large", "small"),
        "max_running": 16,
    },
)
DATABASE = {
    "database_url": "postgresql://app:p%40ss@pooler.example/jan",
    "database_direct_url": "postgresql://app:p%40ss@db.example/jan",
    "database_migration_url": "postgresql://owner:pw@db.example/jan",
    "database_read_urls": ("postgresql://app:pw@r1.example/jan", "postgresql://a:b@r2.example/jan"),
}


def loaded(home: Path, **said: Any) -> Settings:
    """The settings of a Jan that runs somewhere."""
    return settings.load({"home": home, **said}, environ={}).settings


def rendered(found: Carried) -> list[dict[str, Any]]:
    """Render the values, and add the Secrets that they name."""
    whole = chart.read(chart.folder())
    [said] = documents.parse(documents.write(found.values), origin="values")
    values = merging.merged(whole, [said])
    merging.check(values, chart.schema())
    objects = [dict(each.object) for each in rendering.render(whole, values, rendering.Release())]
    return [*objects, *carry.secret_manifests(found)]


def gateway(objects: list[dict[str, Any]], root: Path) -> Settings:
    """What a gateway's pod would load."""
    return pods.container(objects, pods.find(objects, "Deployment", "jan-gateway"), root).settings()


def test_every_setting_that_can_be_chosen_is_tried_here() -> None:
    assert set(SAID) == {*choices.plain(), *choices.secret()}
    assert {*SAID, *choices.OF_THE_CHART} == set(Settings.model_fields)


def test_the_settings_that_a_gateway_loads_are_those_that_were_rendered(
    home: Path, tmp_path: Path
) -> None:
    here = loaded(home, **SAID, **DATABASE, providers=SERVERS)
    found = carry.carry(here, KEYRING, PLAIN_BOX)

    there = gateway(rendered(found), tmp_path / "root")

    differing = {name for name in SAID if getattr(here, name) != getattr(there, name)}
    assert differing == set()
    assert here.database_url == there.database_url
    assert here.database_direct_url == there.database_direct_url
    assert here.database_read_urls == there.database_read_urls
    assert (there.host, there.port) == ("0.0.0.0", 8080)
    assert [each.read_key() for each in there.providers] == ["sk-acme", None]
    assert [each.model_copy(update={"api_key_file": None}) for each in there.providers] == [
        each.model_copy(update={"api_key": None}) for each in here.providers
    ]


def test_a_valkey_elsewhere_comes_along_and_its_certificates_are_told(home: Path) -> None:
    url = "rediss://:hunter2@valkey.example?ssl_ca_certs=/etc/jan/valkey.pem"

    found = carry.carry(loaded(home, redis_url=url), KEYRING, PLAIN_BOX)

    assert found.secrets["jan-settings"] == {"redis-url": url}
    assert found.notes == ["redis_url: the files with certificates that it names"]


def test_secrets_stay_the_same_and_are_in_no_value(home: Path, tmp_path: Path) -> None:
    found = carry.carry(loaded(home, **SAID, **DATABASE, providers=SERVERS), KEYRING, PLAIN_BOX)

    there = gateway(rendered(found), tmp_path / "root")

    assert there.jwt_secret
    assert there.api_key_secret
    assert there.jwt_secret.get_secret_value() == KEYRING.jwt_secret
    assert there.api_key_secret.get_secret_value() == KEYRING.api_key_secret
    text = documents.write(found.values)
    for keys in found.secrets.values():
        for secret in keys.values():
            assert secret
            assert secret not in text


def test_settings_that_nobody_changed_are_not_among_the_values(home: Path) -> None:
    found = carry.carry(loaded(home), None, PLAIN_BOX)

    assert list(found.values) == ["global"]
    assert list(found.values["global"]) == ["models"]
    assert found.secrets == {}


def test_the_owner_of_the_tables_migrates_and_nobody_else_has_his_password(
    home: Path, tmp_path: Path
) -> None:
    objects = rendered(carry.carry(loaded(home, **DATABASE), KEYRING, PLAIN_BOX))

    job = pods.find(objects, "Job", "jan-migration-hook")
    migration = pods.container(objects, job, tmp_path / "job").settings()

    assert migration.database_migration_url
    assert migration.database_migration_url.get_secret_value() == DATABASE["database_migration_url"]
    assert gateway(objects, tmp_path / "gateway").database_migration_url is None


@pytest.mark.parametrize("hardware", [PLAIN_BOX, GPU_BOX], ids=lambda each: each.variant)
def test_each_model_runs_with_its_options_and_its_part_of_the_machine(
    home: Path, tmp_path: Path, hardware: Hardware
) -> None:
    here = loaded(
        home,
        models=[
            {
                "name": "org/large",
                "tensor_parallel": 2,
                "memory_fraction": 0.85,
                "engine_args": "--seed 1 --chat-template '{{ x }}'",
                "max_running": 12,
            },
            {"name": "org/small", "instances": 3},
        ],
        runner_start_timeout_s=90.0,
        runner_stop_grace_s=3.0,
    )
    objects = rendered(carry.carry(here, None, hardware))

    large = pods.find(objects, "StatefulSet", "jan-org-large")
    runner = pods.container(objects, large, tmp_path / "large").settings()
    small = pods.find(objects, "StatefulSet", "jan-org-small")["spec"]
    servers = gateway(objects, tmp_path / "gateway").providers

    has_gpus = hardware.variant == "cuda"
    options = "--tensor-parallel-size 2 " if has_gpus else ""
    assert runner.engine_args == (
        f"{options}--gpu-memory-utilization 0.85 --seed 1 --chat-template '{{{{ x }}}}'"
    )
    assert (runner.model, runner.engine) == ("org/large", hardware.variant)
    assert (runner.runner_host, runner.runner_port) == ("0.0.0.0", 8101)
    assert (runner.runner_start_timeout_s, runner.runner_stop_grace_s) == (90.0, 3.0)
    assert small["replicas"] == 3
    limits = large["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "14Gi", **({"nvidia.com/gpu": 2} if has_gpus else {})}
    assert [(each.kind, len(each.urls), each.max_running) for each in servers] == [
        ("runner", 1, 12),
        ("runner", 3, None),
    ]


def test_what_operators_told_a_running_jan_comes_along(home: Path, tmp_path: Path) -> None:
    endpoint = {"url": "http://acme.example", "enabled": True, "weight": 2, "max_running": 5}
    provider = {
        "name": "acme",
        "kind": "openai",
        "prefix": "acme/",
        "models": ["large"],
        "has_api_key": True,
        "endpoints": [endpoint, {**endpoint, "url": "http://off.example", "enabled": False}],
    }
    found = carry.carry(
        loaded(home),
        KEYRING,
        PLAIN_BOX,
        deployments=[Deployment(name="org/loaded", idle_unload_s=60.0)],
        providers=[provider],
    )
    found.secrets[carry.PROVIDERS]["acme"] = "sk-acme"  # as its operator knows it

    servers = gateway(rendered(found), tmp_path / "root").providers

    engine, acme = servers
    assert engine.name == "engine-org-loaded"
    assert (acme.urls, acme.models, acme.prefix) == (("http://acme.example",), ("large",), "acme/")
    assert (acme.max_running, acme.read_key()) == (5, "sk-acme")
    assert found.notes == [
        "provider acme: the weights of its endpoints",
        "model org/loaded: idle_unload_s",
    ]


def test_workers_become_replicas(home: Path) -> None:
    objects = rendered(carry.carry(loaded(home, workers=3), None, PLAIN_BOX))

    assert pods.find(objects, "Deployment", "jan-gateway")["spec"]["replicas"] == 3
