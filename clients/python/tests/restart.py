"""The clients while the daemon is restarted. ``tests/clients`` starts this beside a daemon that it kills and starts again as soon
as the command has begun: ``restart.py blocking|asyncio SOCKET WORKSPACE``."""

import asyncio
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "src"))

import execward  # noqa: E402
from execward import aio  # noqa: E402

LINES = 300
TEXT = f"echo begun >> runs; for i in $(seq 1 {LINES}); do echo line $i; sleep 0.01; done; exit 7"
EXPECTED = "".join(f"line {number}\n" for number in range(1, LINES + 1))


def check(done: "execward.Completed", workspace: str) -> None:
    assert done.returncode == 7, done
    assert done.stdout == EXPECTED, f"{len(done.stdout)} of {len(EXPECTED)} bytes"
    assert (pathlib.Path(workspace) / "runs").read_text() == "begun\n", "it ran twice"


def blocking(path: str, workspace: str) -> None:
    with execward.Client(path) as client, client.session(workspace) as session:
        # Another thread asks all the while, by the same connection.
        stop = threading.Event()
        asked = []

        def ask() -> None:
            while not stop.wait(0.01):
                asked.append(session.commands())

        other = threading.Thread(target=ask)
        other.start()
        try:
            check(session.run(TEXT, shell=True), workspace)
        finally:
            stop.set()
            other.join()
        assert asked and client.connected
        # What was sent before it broke is not sent again where that would not come to the same.
        assert session.run(["cat"], input="after\n").stdout == "after\n"


async def asynchronous(path: str, workspace: str) -> None:
    async with aio.Client(path) as client:
        async with await client.session(workspace) as session:
            done, listed = await asyncio.gather(session.run(TEXT, shell=True), session.commands())
            check(done, workspace)
            assert isinstance(listed, list)
            assert (await session.run(["echo", "after"])).stdout == "after\n"


def gone(path: str, workspace: str) -> None:
    """The daemon does not come again: that is said within the time, once, and at once from then on."""
    client = execward.Client(path, reconnect=2)
    session = client.session(workspace)
    command = session.start("echo begun > runs; sleep 600", shell=True)
    for _ in range(2):
        try:
            command.wait()
        except execward.ConnectionFailed:
            continue
        raise AssertionError("a daemon that is gone has answered")
    assert not client.connected
    client.close()


if __name__ == "__main__":
    kind, socket_path, place = sys.argv[1:]
    if kind == "asyncio":
        asyncio.run(asynchronous(socket_path, place))
    else:
        {"blocking": blocking, "gone": gone}[kind](socket_path, place)
    print("fine")
