"""Lines say each step once, and again when much has been done."""

from jan.runner import progress


def test_a_step_is_said_once_and_with_each_tenth() -> None:
    said: list[str] = []
    report = progress.lines(said.append)

    for share in (0.0, 0.04, 0.12, 0.13, 0.5):
        report("Downloading", share)
    report("Checking", None)
    report("Checking", None)

    assert progress.parsed(said[1]) == ("Downloading", 0.12)
    assert progress.parsed(said[0]) == ("Downloading", None)
    assert said == ["Downloading", "Downloading (12%)", "Downloading (50%)", "Checking"]
