"""The environment: one session of execward, in which every command of a task runs."""

from __future__ import annotations

import os
import threading
from typing import Optional, Tuple

from execward import Client, Command, ConnectionFailed, ExecwardError, RequestFailed, Session
from tools.environments.base import BaseEnvironment

from .process import FAILED, REFUSED, Process, told, waits

#: Seconds for which a session is kept when Hermes has gone, or has lost its connection.
LINGER = 30.0

#: The daemon's error for a session that is not there.
NO_SESSION = 1100


class _Text(str):
    """Shell text, and where it starts."""

    cwd: str

    def __new__(cls, text: str, cwd: str) -> "_Text":
        made = super().__new__(cls, text)
        made.cwd = cwd
        return made


class ExecwardEnvironment(BaseEnvironment):  # type: ignore[misc]
    """Runs Hermes's commands in a session of execward's daemon.

    The daemon keeps the directory and the exported variables from one command to the next, so that the text that it judges,
    shows to people and records is what the agent wrote, without Hermes's own preamble around it.
    """

    def __init__(
        self,
        workspace: str,
        cwd: str = "",
        timeout: int = 60,
        *,
        socket: Optional[str] = None,
        profile: Optional[str] = None,
        network: Optional[str] = None,
        label: Optional[str] = None,
    ) -> None:
        self._open: Optional[Tuple[Client, Session]] = None
        self._lock = threading.Lock()
        self._options = {"profile": profile, "network": network, "label": label}
        self._socket = socket
        self._where = os.path.abspath(workspace)
        self.workspace: str = self._session().workspace
        # Hermes names a directory of its own choosing where nobody has said one.
        self._elsewhere = cwd if cwd and not self._within(cwd) else None
        super().__init__(cwd=cwd if cwd and self._within(cwd) else self.workspace, timeout=timeout)

    # What Hermes does around a command, execward's session does.

    def init_session(self) -> None:
        """There is nothing to prepare."""

    def _prepare_command(self, command: str) -> Tuple[str, Optional[str]]:
        # A password of sudo's is of no use in the jail, and nothing that a command should be able to read.
        return command, None

    def _wrap_command(self, command: str, cwd: str) -> str:
        if cwd == self._elsewhere:
            cwd = self.workspace
        if self._within(cwd):
            return _Text(command, cwd)
        # `/tmp` and the like, as the sandbox has them.
        return _Text(f"builtin cd -- {self._quote_cwd_for_cd(cwd)} || exit 126\n{command}", self.workspace)

    def _run_bash(
        self, cmd_string: str, *, login: bool = False, timeout: int = 120, stdin_data: Optional[str] = None
    ) -> Process:
        try:
            command = self._start(cmd_string, stdin=stdin_data is not None)
        except ExecwardError as error:
            # Not raised: Hermes would try again, and nothing has changed by then.
            return Process(None, told(error), FAILED if isinstance(error, ConnectionFailed) else REFUSED)
        if stdin_data is not None:
            threading.Thread(target=_feed, args=(command, stdin_data.encode()), daemon=True).start()
        return Process(command, waits(command) if command.state == "waiting" else "")

    def _update_cwd(self, result: "dict[str, object]") -> None:
        try:
            self.cwd = self._session().describe()["cwd"]
        except ExecwardError:
            # It stays what it was; the next command tells what is wrong.
            pass

    def start(self, command: str, cwd: str = "") -> Command:
        """Starts a command in the background, with the variables of the last one.

        Raises :class:`execward.ExecwardError` where it may not, or cannot run.
        """
        return self._start(self._wrap_command(command, cwd or self.cwd), stdin=True, background=True)

    def _start(self, text: str, *, stdin: bool, background: bool = False) -> Command:
        cwd = text.cwd if isinstance(text, _Text) else self.cwd
        session = self._session()
        try:
            return session.start(str(text), shell=True, cwd=cwd, stdin=stdin, background=background, persist=True)
        except RequestFailed as error:
            if error.code != NO_SESSION:
                raise
        # Its lifetime was over, or somebody has ended it: nothing has started.
        session = self._session(instead_of=session)
        return session.start(str(text), shell=True, cwd=cwd, stdin=stdin, background=background, persist=True)

    def cleanup(self) -> None:
        """Ends the session and everything in it."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            client, session = opened
            try:
                session.close()
            except ExecwardError:
                # It has gone, or goes with its connection.
                pass
            finally:
                client.close()

    def _within(self, path: str) -> bool:
        return os.path.isabs(path) and os.path.commonpath([self.workspace, os.path.normpath(path)]) == self.workspace

    def _session(self, instead_of: Optional[Session] = None) -> Session:
        """The session; after a lost connection the same one where it is still there, else a new one."""
        with self._lock:
            if self._open is not None and self._open[1] is instead_of:
                self._open[0].close()
                self._open = None
            if self._open is not None and self._open[0].connected:
                return self._open[1]
            client = Client(self._socket)
            try:
                session = self._again(client)
            except BaseException:
                client.close()
                raise
            self._open = (client, session)
            return session

    def _again(self, client: Client) -> Session:
        if self._open is not None:
            try:
                return client.attach(self._open[1].id)
            except RequestFailed as error:
                if error.code != NO_SESSION:
                    raise
        return client.session(self._where, linger=LINGER, **self._options)


def _feed(command: Command, data: bytes) -> None:
    try:
        command.write(data, end=True)
    except ExecwardError:
        # It ended before it took everything.
        pass
