"""Two supervisors never share a home."""

import fcntl
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from jan.errors import Misconfigured
from jan.supervisor import lock


def test_a_second_supervisor_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "run"), pytest.raises(Misconfigured) as caught:  # noqa: SIM117
        with lock.hold(tmp_path / "run"):
            pass

    assert f"(process {os.getpid()})" in caught.value.message
    assert str(tmp_path) in caught.value.message


def test_the_lock_leaves_nothing_behind_and_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.hold(tmp_path):
            assert (tmp_path / lock.FILE).read_text() == f"{os.getpid()}\n"

        assert list(tmp_path.iterdir()) == []


def _hold_and_die(run_dir: Path) -> None:
    with lock.hold(run_dir):
        os._exit(9)


def test_a_killed_holder_holds_it_no_longer(tmp_path: Path) -> None:
    holder = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(tmp_path,))
    holder.start()
    holder.join()
    assert (tmp_path / lock.FILE).exists()

    with lock.hold(tmp_path):
        pass


def test_what_a_killed_holder_left_is_tidied_and_what_is_held_is_not(tmp_path: Path) -> None:
    lock.tidy(tmp_path)
    (tmp_path / lock.FILE).write_text("4194304\n")

    lock.tidy(tmp_path)

    assert list(tmp_path.iterdir()) == []
    with lock.hold(tmp_path):
        lock.tidy(tmp_path)
        assert (tmp_path / lock.FILE).read_text() == f"{os.getpid()}\n"


def test_who_only_tidies_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / lock.FILE).touch()
    with (tmp_path / lock.FILE).open() as tidying:
        fcntl.flock(tidying, fcntl.LOCK_EX)
        timer = threading.Timer(lock.WAIT_S / 5, tidying.close)
        timer.start()

        with lock.hold(tmp_path):
            pass

        timer.join()


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")

    with pytest.raises(Misconfigured, match="Can't use"), lock.hold(tmp_path / "run"):
        pass
