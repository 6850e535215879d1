"""The clients against a real daemon. ``EXECWARD_TEST_DIR`` is a directory with its sockets in ``run/`` and an empty directory
``work/``, whose policy asks about ``uname``; ``cargo test --test main python`` sets it up."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.environ.get("EXECWARD_TEST_DIR", "")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "src"))

import execward  # noqa: E402
from execward import aio  # noqa: E402

SOCKET = os.path.join(ROOT, "run", "agent.sock")
OPERATOR = os.path.join(ROOT, "run", "operator.sock")


@unittest.skipUnless(ROOT, "EXECWARD_TEST_DIR names no daemon")
class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.workspace = tempfile.mkdtemp(dir=os.path.join(ROOT, "work"))
        self.addCleanup(shutil.rmtree, self.workspace, True)


class Blocking(Case):
    def setUp(self) -> None:
        super().setUp()
        self.client = execward.Client(SOCKET)
        self.addCleanup(self.client.close)
        self.session = self.client.session(self.workspace)
        self.addCleanup(self._end)

    def _end(self) -> None:
        try:
            self.session.close()
        except ConnectionError:
            pass

    def test_a_command_comes_back_as_subprocess_has_it(self) -> None:
        done = self.session.run("echo out; echo err >&2; exit 7", shell=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "out\n", "err\n"))
        self.assertEqual(self.session.run(["printf", r"a\377b\000"], text=False).stdout, b"a\xffb\0")
        self.assertEqual(self.session.run(["bash", "-c", "kill -USR1 $$"]).returncode, -10)
        with self.assertRaises(subprocess.CalledProcessError) as raised:
            self.session.run("echo no; exit 3", shell=True, check=True)
        self.assertEqual((raised.exception.returncode, raised.exception.output), (3, "no\n"))
        with self.assertRaises(FileNotFoundError):
            self.session.run(["no-such-program"])
        with self.assertRaises(TypeError):
            self.session.run("echo split me")

    def test_input_larger_than_any_buffer_comes_back(self) -> None:
        data = os.urandom(3 << 20)
        self.assertEqual(self.session.run(["cat"], input=data, text=False).stdout, data)
        self.assertEqual(self.session.run("head -c 3", shell=True, input="abcdef").stdout, "abc")

    def test_a_time_limit_raises_with_what_came(self) -> None:
        with self.assertRaises(subprocess.TimeoutExpired) as raised:
            self.session.run("echo early; sleep 100", shell=True, timeout=0.5)
        self.assertEqual(raised.exception.output, "early\n")

    def test_a_refusal_says_why(self) -> None:
        with self.assertRaises(execward.Refused) as raised:
            self.session.run("rm -rf /", shell=True)
        self.assertEqual(raised.exception.rule, "hardline.delete-system")
        self.assertIsInstance(raised.exception, PermissionError)
        self.assertEqual(self.client.check("rm -rf /", shell=True)["decision"], "hardline")
        self.assertEqual(self.client.check(["ls"])["decision"], "allow")

    def test_a_command_is_talked_to_while_it_runs(self) -> None:
        command = self.session.start(["cat"], stdin=True)
        command.write("hello\n")
        self.assertEqual(command.read(timeout=20), [("stdout", b"hello\n")])
        self.assertFalse(command.closed)
        command.write("", end=True)
        report = command.wait()
        assert report is not None
        self.assertEqual((report["outcome"], report["code"]), ("exited", 0))
        self.assertEqual(command.read(timeout=20), [])
        self.assertTrue(command.closed)
        sleeper = self.session.start(["sleep", "100"], background=True)
        self.assertIsNone(sleeper.wait(timeout=0.1))
        self.assertIn(sleeper.id, [listed["id"] for listed in self.session.commands()])
        sleeper.kill()
        self.assertIsNotNone(sleeper.wait(timeout=20))

    def test_threads_share_a_connection(self) -> None:
        results = []
        slow = threading.Thread(target=lambda: results.append(self.session.run("sleep 1; echo slow", shell=True)))
        slow.start()
        self.assertEqual(self.session.run(["echo", "quick"]).stdout, "quick\n")
        self.assertEqual(results, [])
        slow.join()
        self.assertEqual(results[0].stdout, "slow\n")

    def test_a_session_is_found_again(self) -> None:
        with execward.Client(SOCKET) as other:
            self.session.run("echo kept > /tmp/x", shell=True)
            self.assertEqual(other.attach(self.session.id).run(["cat", "/tmp/x"]).stdout, "kept\n")
            with self.assertRaises(execward.RequestFailed) as raised:
                other.attach("0" * 32)
            self.assertEqual(raised.exception.code, 1100)

    def test_shell_text_goes_on_where_the_last_one_ended(self) -> None:
        self.session.run("mkdir d && cd d && export KEPT='x y'", shell=True, persist=True)
        self.assertEqual(self.session.describe()["cwd"], f"{os.path.realpath(self.workspace)}/d")
        done = self.session.run('pwd; echo "$KEPT"', shell=True, persist=True)
        self.assertEqual(done.stdout, f"{os.path.realpath(self.workspace)}/d\nx y\n")
        self.assertEqual(self.session.run("pwd; echo $KEPT", shell=True).stdout, f"{os.path.realpath(self.workspace)}\n\n")

    def test_a_secret_does_not_come(self) -> None:
        token = "ghp_" + "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU"
        done = self.session.run(["echo", token])
        self.assertNotIn(token, done.stdout)
        self.assertEqual(done.report["masked"], 1)

    def test_what_waits_says_so_and_runs_once_agreed(self) -> None:
        asked = []

        def answer(request_id: str) -> None:
            asked.append(request_id)
            with execward.Client(OPERATOR) as operator:
                until = time.monotonic() + 20
                while time.monotonic() < until:
                    for waiting in operator.call("approval/list")["approvals"]:
                        if waiting["request_id"] == request_id:
                            operator.call("approval/answer", {"approval": waiting["approval"], "answer": "once"})
                            return
                    time.sleep(0.01)

        done = self.session.run(["uname"], on_waiting=answer)
        self.assertEqual((done.stdout, len(asked)), ("Linux\n", 1))

    def test_no_daemon_is_an_error_of_its_own(self) -> None:
        with self.assertRaises(execward.ConnectionFailed):
            execward.Client(os.path.join(ROOT, "no.sock"))
        self.client.close()
        with self.assertRaises(ConnectionError):
            self.client.call("session/list")

    def test_one_call_is_enough(self) -> None:
        done = execward.run(["pwd"], workspace=self.workspace, socket_path=SOCKET)
        self.assertEqual(done.stdout.strip(), os.path.realpath(self.workspace))
        os.mkdir(os.path.join(self.workspace, "sub"))
        within = execward.run(["pwd"], workspace=self.workspace, cwd="sub", socket_path=SOCKET)
        self.assertTrue(within.stdout.strip().endswith("/sub"))


class Async(Case):
    def test_the_same_with_await(self) -> None:
        async def main() -> None:
            async with aio.Client(SOCKET) as client:
                async with await client.session(self.workspace) as session:
                    many = await asyncio.gather(*(session.run(["echo", str(n)]) for n in range(8)))
                    self.assertEqual([done.stdout for done in many], [f"{n}\n" for n in range(8)])
                    data = os.urandom(1 << 20)
                    self.assertEqual((await session.run(["cat"], input=data, text=False)).stdout, data)
                    with self.assertRaises(execward.Refused):
                        await session.run("rm -rf /", shell=True)
                    with self.assertRaises(subprocess.TimeoutExpired):
                        await session.run(["sleep", "100"], timeout=0.3)

        asyncio.run(main())

    def test_a_cancelled_task_ends_its_command(self) -> None:
        async def main() -> None:
            async with aio.Client(SOCKET) as client:
                async with await client.session(self.workspace) as session:
                    task = asyncio.ensure_future(session.run(["sleep", "100"]))
                    while not await session.commands():
                        await asyncio.sleep(0.01)
                    task.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await task
                    until = time.monotonic() + 20
                    while (await session.commands())[0]["state"] != "ended":
                        self.assertLess(time.monotonic(), until)
                        await asyncio.sleep(0.01)

        asyncio.run(main())

    def test_one_call_is_enough(self) -> None:
        done = asyncio.run(aio.run(["echo", "hi"], workspace=self.workspace, socket_path=SOCKET))
        self.assertEqual(done.stdout, "hi\n")


if __name__ == "__main__":
    unittest.main()
