"""`jan helm`, as a script uses it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jan.helm import chart, documents
from jan.helm.rendering import Release
from tests.conftest import new_home
from tests.fakes import fake_upstream
from tests.helm.test_rendering import rendered
from tests.serving import serving


def jan(home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    argv = [sys.executable, "-m", "jan", "--home", str(home), *words]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )


def test_values_are_good_for_template(home: Path, tmp_path: Path) -> None:
    servers = json.dumps([{"name": "acme", "urls": ["http://acme.example"], "api_key": "sk-acme"}])
    said = jan(home, "helm", "values", JAN_QUEUE_SIZE="7", JAN_PROVIDERS=servers)
    file = tmp_path / "values.yaml"
    file.write_text(said.stdout)

    done = jan(home, "helm", "template", "-f", str(file), "--name", "ai", "-n", "models")

    assert (said.returncode, done.returncode) == (0, 0), said.stderr + done.stderr
    assert "The values name the Secret jan-providers, to be made with acme." in said.stderr
    assert "queue_size = 7" in done.stdout
    assert "ai-smollm2-135m-instruct-0.ai-smollm2-135m-instruct.models.svc:8101" in done.stdout
    assert "sk-acme" not in said.stdout + said.stderr + done.stdout
    assert not (home / "secrets.toml").exists()


def test_secrets_go_to_a_file_of_ones_own(home: Path, tmp_path: Path) -> None:
    assert jan(home, "key", "create", "--name", "first").returncode == 0
    file = tmp_path / "secrets.yaml"
    file.write_text("older")
    file.chmod(0o644)

    said = jan(home, "helm", "values", "--secrets", str(file), SERPER_API_KEY="serper-key")

    found = {
        each["metadata"]["name"]: each["stringData"]
        for each in documents.parse(file.read_text(), origin="secrets")
    }
    assert said.stderr == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert found["jan-settings"] == {"serper-api-key": "serper-key"}
    kept = (home / "secrets.toml").read_text()
    assert all(secret in kept for secret in found["jan-secrets"].values())
    assert set(found["jan-secrets"]) == {"jwt-secret", "api-key-secret"}


def test_the_chart_is_written_and_nothing_of_others_is_touched(home: Path, tmp_path: Path) -> None:
    done = jan(home, "helm", "chart", str(tmp_path / "chart"))
    refused = jan(home, "helm", "chart", str(home.parent))

    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "chart/Chart.yaml").read_bytes() == (
        chart.folder() / "Chart.yaml"
    ).read_bytes()
    assert refused.returncode == 1
    assert "holds something else" in refused.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gateway: {replicas: 0}", "error: gateway.replicas: must be >= 1"),
        ("gateway: [", "is no YAML"),
        ("- a", "is not one table"),
        (None, "Can't read"),
    ],
)
def test_bad_values_are_refused_with_their_place(
    home: Path, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "values.yaml"
    if text is not None:
        file.write_text(text)

    done = jan(home, "helm", "template", "-f", str(file))

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_template_warns_of_secrets_that_are_made_anew(home: Path) -> None:
    done = jan(home, "helm", "template")

    assert "The Secrets jan-postgresql, jan-secrets are made anew" in done.stderr


def test_diff_tells_by_its_exit_code(home: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("gateway: {replicas: 1}")
    new.write_text("gateway: {replicas: 2}")
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(jan(home, "helm", "template", "-f", str(new)).stdout)

    installed = tmp_path / "installed.yaml"
    upgraded = rendered([new], Release(is_upgrade=True))
    kept = [
        each for each in upgraded if "helm.sh/hook" not in each["metadata"].get("annotations", {})
    ]
    installed.write_text(documents.write({"kind": "List", "items": kept}))

    same = jan(home, "helm", "diff", str(manifests), "-f", str(new))
    upgrade = jan(home, "helm", "diff", str(installed), "-f", str(new))
    differs = jan(home, "helm", "diff", str(old), "-f", str(new))
    trouble = jan(home, "helm", "diff", str(tmp_path / "missing.yaml"), "-f", str(new))
    bad = jan(home, "helm", "diff", str(old), "-f", str(tmp_path))

    assert (same.returncode, same.stdout) == (0, "")
    assert (upgrade.returncode, upgrade.stdout) == (0, "")
    assert differs.returncode == 1
    assert "-  replicas: 1\n+  replicas: 2" in differs.stdout
    assert (trouble.returncode, bad.returncode) == (2, 2)
    assert trouble.stderr.startswith("error: Can't read")


async def test_what_operators_told_a_running_jan_is_among_the_values() -> None:
    home = new_home()
    async with fake_upstream() as upstream:
        there = {"JAN_INFERENCE_MODEL_URL": upstream.url}
        async with serving(home, **there) as serve:
            await serve.until_ready()
            for words in (
                ("provider", "add", "acme", "--url", "http://acme.example/v1", "--prefix", "acme/"),
                ("provider", "add-endpoint", "acme", "http://eu.acme.example"),
                ("helm", "values"),
            ):
                done = await asyncio.to_thread(jan, home, *words, **there)
                assert done.returncode == 0, done.stderr
    shutil.rmtree(home)

    [values] = documents.parse(done.stdout, origin="values")
    assert values["global"]["models"] == []
    assert values["gateway"]["settings"] == {"inference_model_url": upstream.url}
    assert values["gateway"]["providers"] == [
        {
            "name": "acme",
            "urls": ["http://acme.example", "http://eu.acme.example"],
            "prefix": "acme/",
        }
    ]
