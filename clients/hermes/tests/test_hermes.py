"""Hermes's own tools on execward, against a real daemon. Run by a Python that has ``hermes-agent``. ``EXECWARD_TEST_DIR`` is a
directory with the daemon's sockets in ``run/`` and an empty directory ``work/``, whose policy asks about ``uname`` and denies
``hostid``; ``cargo test --test main hermes`` sets it up."""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.environ.get("EXECWARD_TEST_DIR", "")
CLIENTS = pathlib.Path(__file__).resolve().parent.parent.parent
for client in ("hermes", "python"):
    sys.path.insert(0, str(CLIENTS / client / "src"))

HOME = tempfile.mkdtemp(prefix="execward-hermes-")
os.environ.update(HERMES_HOME=HOME, TERMINAL_ENV="execward", EXECWARD_SOCKET=os.path.join(ROOT, "run", "agent.sock"))
os.environ.pop("EXECWARD_WORKSPACE", None)

import execward  # noqa: E402
import execward_hermes  # noqa: E402
from tools import file_tools, interrupt, terminal_tool  # noqa: E402
from tools.process_registry import process_registry  # noqa: E402

TOKEN = "ghp_" + "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU"


def tearDownModule() -> None:
    terminal_tool.cleanup_all_environments()
    shutil.rmtree(HOME, True)


def marked(mark: str) -> int:
    """Processes that have this word among their arguments."""
    found = 0
    for process in pathlib.Path("/proc").iterdir():
        try:
            found += mark.encode() in (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            pass
    return found


def records(kind: str) -> list:
    with open(os.path.join(ROOT, "state", "audit", "audit.jsonl")) as log:
        return [record for record in map(json.loads, log) if record["kind"] == kind]


@unittest.skipUnless(ROOT, "EXECWARD_TEST_DIR names no daemon")
class Tools(unittest.TestCase):
    def setUp(self) -> None:
        self.workspace = os.path.realpath(tempfile.mkdtemp(dir=os.path.join(ROOT, "work")))
        os.environ["TERMINAL_CWD"] = self.workspace
        execward_hermes.install()
        self.addCleanup(shutil.rmtree, self.workspace, True)
        self.addCleanup(terminal_tool.clear_session_cwd, "default")
        self.addCleanup(terminal_tool.cleanup_all_environments)

    def run_tool(self, command: str, **options: object) -> dict:
        return json.loads(terminal_tool.terminal_tool(command, **options))

    def until(self, what: str, holds) -> None:
        end = time.monotonic() + 60
        while not holds():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)

    def test_a_command_runs_in_the_jail(self) -> None:
        done = self.run_tool("echo out; echo err >&2; pwd; readlink /proc/self/ns/pid; exit 7")
        self.assertEqual(done["exit_code"], 7, done)
        lines = done["output"].split()
        self.assertEqual(len(lines), 4, done)
        self.assertLess({"out", "err", self.workspace}, set(lines))
        self.assertNotIn(os.readlink("/proc/self/ns/pid"), lines)
        outside = os.path.join(ROOT, "execward.toml")
        self.assertTrue(os.path.exists(outside))
        self.assertNotEqual(self.run_tool(f"cat {outside}")["exit_code"], 0)
        self.assertNotEqual(self.run_tool(f"echo x > {ROOT}/made")["exit_code"], 0)
        self.assertFalse(os.path.exists(os.path.join(ROOT, "made")))
        # What is judged and recorded is what the agent wrote, to the byte.
        self.run_tool("echo exactly  'this'")
        self.assertEqual(records("decision")[-1]["body"]["command"]["shell"], "echo exactly  'this'")

    def test_directory_and_variables_stay(self) -> None:
        self.run_tool("mkdir -p a/b && cd a/b && export KEPT='x y'")
        self.assertEqual(self.run_tool('pwd; echo "$KEPT"')["output"], f"{self.workspace}/a/b\nx y")
        self.assertEqual(self.run_tool("pwd", workdir=self.workspace)["output"], self.workspace)
        self.assertEqual(self.run_tool("pwd; echo x > f; cat f", workdir="/tmp")["output"], "/tmp\nx")
        self.assertEqual(terminal_tool.get_session_cwd("default"), self.workspace)

    def test_what_is_refused_says_why_and_is_not_tried_again(self) -> None:
        before = len(records("decision"))
        done = self.run_tool("hostid")
        self.assertEqual(done["exit_code"], 126, done)
        for part in ("refused", "denies", "for the tests"):
            self.assertIn(part, done["output"])
        self.assertEqual(len(records("decision")), before + 1)

    def test_what_asks_runs_once_a_person_agrees(self) -> None:
        agreed = []

        def answer() -> None:
            with execward.Client(os.path.join(ROOT, "run", "operator.sock")) as operator:
                while not agreed:
                    for waiting in operator.call("approval/list")["approvals"]:
                        answered = {"approval": waiting["approval"], "answer": "once"}
                        agreed.append(operator.call("approval/answer", answered))
                    time.sleep(0.05)

        thread = threading.Thread(target=answer)
        thread.start()
        done = self.run_tool("uname")
        thread.join()
        self.assertEqual((done["exit_code"], done["output"].split()[-1]), (0, "Linux"), done)
        self.assertIn("waited for a person", done["output"])

    def test_a_time_limit_and_an_interruption_leave_nothing(self) -> None:
        mark = f"execward-mark-{os.getpid()}-limit"
        # One of the two leaves its session, and would outlive the shell.
        leaves = f"echo early; python3 -c 'import os, time; os.fork() or os.setsid(); time.sleep(1000)' {mark}"
        done = self.run_tool(leaves, timeout=2)
        self.assertEqual(done["exit_code"], 124, done)
        self.assertIn("early", done["output"])
        self.until("nothing is left", lambda: marked(mark) == 0)
        thread = threading.get_ident()

        def stop() -> None:
            self.until("it runs", lambda: marked(mark) == 2)
            interrupt.set_interrupt(True, thread)

        threading.Thread(target=stop).start()
        try:
            done = self.run_tool(leaves, timeout=100)
        finally:
            interrupt.set_interrupt(False, thread)
        self.assertEqual(done["exit_code"], 130, done)
        self.until("nothing is left", lambda: marked(mark) == 0)

    def test_processes_in_the_background_are_read_typed_to_and_ended(self) -> None:
        self.run_tool("export GREETING=hello")
        done = self.run_tool('echo $GREETING; read -r x; echo "got $x"; exit 3', background=True)
        name = done["session_id"]
        self.until("it greets", lambda: "hello" in process_registry.poll(name)["output_preview"])
        self.assertEqual(process_registry.submit_stdin(name, "word")["status"], "ok")
        ended = process_registry.wait(name, timeout=60)
        self.assertEqual((ended["status"], ended["exit_code"]), ("exited", 3), ended)
        self.assertIn("got word", ended["output"])
        mark = f"execward-mark-{os.getpid()}-background"
        done = self.run_tool(f"python3 -c 'import time; time.sleep(1000)' {mark}", background=True)
        self.until("it runs", lambda: marked(mark) == 1)
        self.assertEqual(self.run_tool("echo beside it")["output"], "beside it")
        self.assertEqual(process_registry.kill_process(done["session_id"])["status"], "killed")
        self.until("nothing is left", lambda: marked(mark) == 0)
        refused = self.run_tool("hostid", background=True)
        self.assertEqual(refused["exit_code"], -1)
        self.assertIn("refused", refused["error"])

    def test_files_are_written_and_read_through_the_jail(self) -> None:
        written = json.loads(file_tools.write_file_tool("made/file.txt", "line \u00e9\n" * 20_000))
        self.assertNotIn("error", {key for key, value in written.items() if value}, written)
        self.assertEqual(pathlib.Path(self.workspace, "made/file.txt").read_text(), "line \u00e9\n" * 20_000)
        read = json.loads(file_tools.read_file_tool("made/file.txt", limit=2))
        self.assertIn("line \u00e9", read["content"], read)
        outside = os.path.join(ROOT, "made")
        file_tools.write_file_tool(outside, "x")
        self.assertFalse(os.path.exists(outside))

    def test_output_comes_whole_and_without_secrets(self) -> None:
        env = terminal_tool._create_environment(env_type="execward", image="", cwd=self.workspace, timeout=60)
        self.addCleanup(env.cleanup)
        done = env.execute("head -c 3000000 /dev/zero | tr '\\0' x; printf '\\303\\251'")
        self.assertEqual((len(done["output"]), done["output"][-1], done["returncode"]), (3_000_001, "\u00e9", 0))
        self.assertEqual(env.execute("cat", stdin_data="a\n" * 500_000)["output"], "a\n" * 500_000)
        self.assertEqual(env.execute("kill -9 $$")["returncode"], 137)
        done = env.execute(f"echo {TOKEN}")
        self.assertNotIn(TOKEN, done["output"])

    def test_a_session_that_is_gone_is_opened_anew(self) -> None:
        self.assertEqual(self.run_tool("export A=1; echo one")["output"], "one")
        env = terminal_tool._active_environments["default"]
        env._session().close()
        self.assertEqual(self.run_tool("echo two$A")["output"], "two")
        env._open[0].close()
        self.assertEqual(self.run_tool("echo three; export A=3")["output"], "three")
        env._open[0].close()
        # Only the connection was lost: the session is the same.
        self.assertEqual(self.run_tool("echo four$A")["output"], "four3")

    def test_without_a_daemon_nothing_runs(self) -> None:
        self.assertTrue(terminal_tool.check_terminal_requirements())
        socket = os.environ["EXECWARD_SOCKET"]
        self.addCleanup(os.environ.__setitem__, "EXECWARD_SOCKET", socket)
        os.environ["EXECWARD_SOCKET"] = os.path.join(ROOT, "no.sock")
        self.assertFalse(terminal_tool.check_terminal_requirements())
        done = self.run_tool("echo ran > made")
        self.assertNotEqual(done["exit_code"], 0, done)
        self.assertFalse(os.path.exists(os.path.join(self.workspace, "made")))

    def test_other_backends_are_what_they_were(self) -> None:
        os.environ["TERMINAL_ENV"] = "local"
        self.addCleanup(os.environ.__setitem__, "TERMINAL_ENV", "execward")
        self.assertTrue(terminal_tool.check_terminal_requirements())
        done = self.run_tool("readlink /proc/self/ns/pid", workdir=self.workspace)
        self.assertEqual(done["output"], os.readlink("/proc/self/ns/pid"))


if __name__ == "__main__":
    unittest.main()
