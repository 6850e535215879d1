"""Commands of execward as Hermes wants to hold them: one that it waits for, and one that runs in the background."""

from __future__ import annotations

import os
import threading
from typing import IO, Any, Dict, List, Optional

from execward import Command, ConnectionFailed, ExecwardError, Refused

#: Seconds that one question for output waits.
WAIT = 20.0

#: Exit code of a command that the policy or a person refused, as a shell has it for what it may not execute.
REFUSED = 126

#: Exit code where execward itself could not run it.
FAILED = 125


def told(error: ExecwardError) -> str:
    """What an agent is told of a command that did not run."""
    if isinstance(error, Refused):
        lines = [f"execward refused this command: {error.reason or error.message}"]
        for finding in error.findings:
            lines.append(f"  {finding.get('reason', '')} [{finding.get('rule', '')}]")
        hints = [error.hint, *(finding.get("hint", "") for finding in error.findings)]
        lines += [f"  instead: {hint}" for hint in dict.fromkeys(hints) if hint]
        return "\n".join(lines) + "\n"
    return f"execward could not run this command: {error}\n"


def waits(command: Command) -> str:
    """What an agent is told of a command that a person must agree to."""
    return f"[execward: waited for a person to agree; request {command.request_id}]\n"


class Ending:
    """How a command came out: an exit code as a shell would give it, and a sentence where it needs one."""

    def __init__(self, report: Dict[str, Any]) -> None:
        outcome = report.get("outcome", "failed")
        self.text = ""
        if outcome == "exited":
            self.code = int(report["code"])
        elif outcome in ("signaled", "cancelled"):
            self.code = 128 + int(report.get("signal", 0))
        elif outcome == "timed-out":
            self.code, self.text = 124, "[execward: a time limit ended the command]\n"
        elif outcome == "refused":
            self.code = REFUSED
            self.text = told(Refused({"code": 1301, "message": "the command was refused", "data": report}))
        elif outcome == "not-executable":
            self.code, self.text = 126, f"{report.get('program', '')}: cannot be executed\n"
        elif outcome == "not-found":
            self.code, self.text = 127, f"{report.get('program', '')}: no such program\n"
        else:
            self.code, self.text = FAILED, f"execward could not run this command: {report.get('error', '')}\n"
        for found in report.get("aftermath", {}).get("found", []):
            fate = found.get("fate")
            if isinstance(fate, dict) and "set-aside" in fate:
                aside = fate["set-aside"].get("to")
                self.text += f"[execward: {found.get('path')} is what others would execute later; it is now {aside}]\n"


class Process:
    """A command that Hermes waits for: what it calls a ``ProcessHandle``."""

    def __init__(self, command: Optional[Command], text: str = "", returncode: Optional[int] = None) -> None:
        read, write = os.pipe()
        self.stdout: Optional[IO[str]] = os.fdopen(read, "r", encoding="utf-8", errors="replace")
        self._command = command
        # The thread must not keep this object: with it goes the end of the pipe that says that nobody reads.
        self._state = state = _State(returncode)
        threading.Thread(target=_pump, args=(command, write, state, text), name="execward", daemon=True).start()

    @property
    def returncode(self) -> Optional[int]:
        return self._state.returncode if self._state.done.is_set() else None

    def poll(self) -> Optional[int]:
        return self.returncode

    def wait(self, timeout: Optional[float] = None) -> Optional[int]:
        self._state.done.wait(timeout)
        return self.returncode

    def kill(self) -> None:
        """Ends it and everything that it started."""
        _kill(self._command)


class _State:
    def __init__(self, returncode: Optional[int]) -> None:
        self.returncode = returncode
        self.done = threading.Event()


def _pump(command: Optional[Command], pipe: int, state: _State, text: str) -> None:
    try:
        _write(pipe, text.encode())
        if command is None:
            return
        while not command.closed:
            for _, data in command.read(timeout=WAIT):
                _write(pipe, data)
        ending = Ending(command.wait() or {})
        state.returncode = ending.code
        _write(pipe, ending.text.encode())
    except BrokenPipeError:
        # Hermes has given it up.
        _kill(command)
    except ExecwardError as error:
        # It may have run to its end, in part, or not at all: to say so is all that can be done, and to run it again must not be.
        state.returncode = FAILED
        try:
            _write(pipe, f"[execward: lost sight of the command: {error}]\n".encode())
        except BrokenPipeError:
            pass
    finally:
        if state.returncode is None:
            state.returncode = FAILED
        os.close(pipe)
        state.done.set()


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _kill(command: Optional[Command]) -> None:
    if command is not None:
        try:
            command.kill()
        except ExecwardError:
            # It has ended, or ends with the connection.
            pass


class Background:
    """A command in the background, with the methods of ptyprocess's ``PtyProcess`` that Hermes uses to read, type and end."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._ready: List[bytes] = [waits(command).encode()] if command.state == "waiting" else []
        self.pid: Optional[int] = None
        self.exitstatus: Optional[int] = None

    def isalive(self) -> bool:
        return bool(self._ready) or self.exitstatus is None

    def read(self, size: int = 4096) -> bytes:
        """Some bytes, perhaps none yet; ``EOFError`` at the end."""
        if not self._ready and not self._command.closed:
            self._ready += [data for _, data in self._command.read(timeout=WAIT)]
        if not self._ready:
            if not self._command.closed:
                return b""
            if self.exitstatus is not None:
                raise EOFError
            ending = Ending(self._command.wait() or {})
            self.exitstatus = ending.code
            if not ending.text:
                raise EOFError
            self._ready.append(ending.text.encode())
        data = self._ready.pop(0)
        if len(data) > size:
            self._ready.insert(0, data[size:])
        return data[:size]

    def wait(self) -> Optional[int]:
        if self.exitstatus is None:
            self.exitstatus = Ending(self._command.wait() or {}).code
        return self.exitstatus

    def write(self, data: bytes) -> int:
        self._command.write(data)
        return len(data)

    def sendeof(self) -> None:
        self._command.write(b"", end=True)

    def terminate(self, force: bool = False) -> bool:
        """Ends it and everything that it started."""
        try:
            self._command.kill()
        except ConnectionFailed:
            # It ends with its session.
            pass
        return True
