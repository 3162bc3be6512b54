"""What the shipped values are rendered to is what was read and found good."""

import pytest

from tests.helm import goldens


@pytest.mark.parametrize("name", goldens.NAMES)
def test_it_is_rendered_as_it_was_read(name: str) -> None:
    kept = (goldens.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")

    assert goldens.written(name) == kept, "read the change, then: python -m tests.helm.goldens"
