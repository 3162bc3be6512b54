"""A child lives as long as its block, and nothing of it longer."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import psutil
import pytest

from jan import process
from jan.errors import Unavailable
from jan.process import MAX_LINE_BYTES, Lines

DEADLINE_S = 15.0


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(0.01)


async def never() -> bool:
    return False


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_child_is_gone_when_its_block_ends() -> None:
    async with process.spawn(python("import time; time.sleep(600)"), env=os.environ) as child:
        assert child.returncode is None

    assert child.returncode == -signal.SIGTERM
    assert is_gone(child.pid)


async def test_a_child_is_gone_when_its_block_is_cancelled() -> None:
    pids: list[int] = []
    with anyio.move_on_after(0.2):
        async with process.spawn(["sleep", "600"], env=os.environ) as child:
            pids.append(child.pid)
            await anyio.sleep_forever()

    assert is_gone(pids[0])


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    before = psutil.Process().children()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with process.spawn(["sleep", "600"], env=os.environ):
            await anyio.sleep_forever()

    assert psutil.Process().children() == before


async def test_a_child_that_ignores_the_request_to_stop_is_killed() -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    async with process.spawn(
        python(f"{stubborn}; time.sleep(600)"), env=os.environ, stop_grace_s=0.1
    ) as child:
        await until(lambda: child.last_lines == ["1"])

    assert child.returncode == -signal.SIGKILL


async def test_grace_can_be_cut_short() -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    with anyio.fail_after(DEADLINE_S):
        async with (
            anyio.create_task_group() as group,
            process.spawn(
                python(f"{stubborn}; time.sleep(600)"), env=os.environ, stop_grace_s=600
            ) as child,
        ):
            await until(lambda: child.last_lines == ["1"])
            group.start_soon(child.stop)
            await anyio.wait_all_tasks_blocked()
            child.abandon()
            await child.wait()

    assert child.returncode == -signal.SIGKILL


async def test_what_a_dead_child_left_running_ends_with_the_block() -> None:
    parent = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    async with process.spawn(python(parent), env=os.environ) as child:
        assert await child.wait() == 0
        orphan = int(child.last_lines[0])
        assert not is_gone(orphan)

    await until(lambda: is_gone(orphan))


async def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, anyio\n"
        "from jan import process\n"
        "async def main():\n"
        "    async with process.spawn(['sleep', '600'], env=os.environ) as child:\n"
        "        print(child.pid, flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    async with process.spawn([sys.executable, script], env=os.environ) as parent:
        await until(lambda: parent.last_lines != [])
        child_pid = int(parent.last_lines[0])
        assert not is_gone(child_pid)
        parent.signal(signal.SIGKILL)
        await parent.wait()

    await until(lambda: is_gone(child_pid))


async def test_readiness_is_asked_for_until_it_is_there(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(600)"

    async def probe() -> bool:
        return await anyio.Path(flag).exists()

    async with process.spawn(python(code), env=os.environ) as child:
        await child.until_ready(probe, timeout_s=DEADLINE_S)

    assert flag.exists()


async def test_a_death_before_readiness_is_explained_by_the_last_lines() -> None:
    code = "import sys; print('loading'); sys.exit('out of memory')"

    async with process.spawn(python(code), env=os.environ, name="engine") as child:
        with pytest.raises(Unavailable, match="engine ended with exit code 1 before") as caught:
            await child.until_ready(never, timeout_s=DEADLINE_S)

    assert caught.value.hint
    assert sorted(caught.value.hint.splitlines()) == ["loading", "out of memory"]


async def test_a_child_that_is_never_ready_is_given_up() -> None:
    async with process.spawn(["sleep", "600"], env=os.environ) as child:
        with pytest.raises(Unavailable, match="sleep was not ready after 0 s"):
            await child.until_ready(never, timeout_s=0.1)


async def test_lines_are_handed_on_as_they_come() -> None:
    lines: list[str] = []
    code = "import sys; print('one'); print('two', file=sys.stderr); print('three', end='')"

    async with process.spawn(
        python(code), env={"PYTHONUNBUFFERED": "1"}, on_line=lines.append
    ) as child:
        await child.wait()

    assert lines == child.last_lines == ["one", "two", "three"]


async def test_waiting_ends_although_a_grandchild_holds_the_output_open() -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '600'])"
    async with process.spawn(python(code), env=os.environ) as child:
        with anyio.fail_after(DEADLINE_S):
            assert await child.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
async def test_a_child_of_another_user_has_none_of_our_groups_and_still_dies_with_us() -> None:
    code = "import os, ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n));"
    code += "print(os.getuid(), os.getgroups() in ([], [os.getgid()]), n.value)"
    async with process.spawn(
        ["/usr/bin/env", "python3", "-c", code], env=os.environ, user="nobody", cwd=Path("/")
    ) as child:
        await child.wait()

    assert child.last_lines == ["65534 True 9"]


def test_an_endless_line_is_handed_on_in_pieces() -> None:
    lines = Lines(None)

    lines.feed(b"x" * (3 * MAX_LINE_BYTES + 1))
    lines.finish()

    assert [len(line) for line in lines.last] == [MAX_LINE_BYTES] * 3 + [1]


def test_only_the_last_lines_are_kept() -> None:
    lines = Lines(None)

    lines.feed(b"".join(b"%d\n" % number for number in range(100)))

    assert list(lines.last) == [str(number) for number in range(50, 100)]


def test_a_line_split_anywhere_is_one_line_and_a_progress_bar_many() -> None:
    lines = Lines(None)

    for byte in "café\r\n10%\r20%\r\xff\n".encode():
        lines.feed(bytes([byte]))

    assert list(lines.last) == ["café", "10%", "20%", "\xff"]
