"""The image that has an engine: a pod of the chart's answers a chat, and downloads nothing.

Collected only when it is named: `just try-image` builds the executable, which takes minutes.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jan.runner import demonstration
from tests.frozen.conftest import run
from tests.helm import pods
from tests.helm.test_rendering import rendered
from tests.images.conftest import ROOT, Image, built, command, running, unpacked
from tests.images.test_running import USER

pytestmark = pytest.mark.timeout(1200)

EXECUTABLE = ROOT / "dist" / "cpu" / "jan"
ENGINE = "http://127.0.0.1:8101"
ASK = """
import json, sys, urllib.request
request = urllib.request.Request(
    sys.argv[1] + "/v1/chat/completions",
    json.dumps({
        "model": sys.argv[2],
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Hello"}],
    }).encode(),
    {"content-type": "application/json"},
)
print(urllib.request.urlopen(request, timeout=120).read().decode())
"""


@pytest.fixture(scope="module")
def image(storage: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of engines for processors."""
    with unpacked(built(storage, "cpu", EXECUTABLE, tmp_path_factory.mktemp("cpu"))) as image:
        yield image


async def test_an_engines_pod_answers_a_chat(image: Image, tmp_path: Path) -> None:
    found = rendered([])
    maker = pods.find(found, "StatefulSet", "jan-smollm2-135m-instruct")
    [prepare] = maker["spec"]["template"]["spec"]["initContainers"]
    pod = pods.container(found, maker, tmp_path, is_apart=True)
    volumes = {place: pod.root / place.lstrip("/") for place in pod.mounts}
    for volume in volumes.values():
        os.chown(volume, 0, USER)
        volume.chmod(0o2777)

    prepared = run(command(image, prepare["args"], volumes, pod.environ))
    async with running(image, pod.arguments[1:], volumes, pod.environ) as container:
        await container.until(image, f"{ENGINE}/health", deadline_s=300)
        said = container.run(image, "jan", "-c", ASK, ENGINE, demonstration.NAME)

        assert prepared.returncode == 0, prepared.stderr
        assert "is installed in /opt/jan/engines/cpu-" in prepared.stderr
        assert json.loads(said.stdout)["choices"][0]["message"]["content"], said.stderr
        assert await container.stopped() == 0, container.lines
    kept = [path for path in volumes["/var/lib/jan"].rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 1_000_000, kept


def test_the_same_executable_gives_the_same_image(
    image: Image, storage: dict[str, str], tmp_path: Path
) -> None:
    with unpacked(built(storage, "cpu", EXECUTABLE, tmp_path)) as again:
        assert again.digest == image.digest
