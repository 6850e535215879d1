"""The client that blocks. A thread reads replies, so that several threads may share one connection."""

from __future__ import annotations

import os
import socket
import threading
import time
from base64 import b64encode
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimeoutError_
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, Union

from ._protocol import (
    ATTEMPTS,
    CLIENT,
    GREETING,
    PROTOCOL,
    RECONNECT,
    REPEATABLE,
    WAIT_MS,
    Argv,
    Completed,
    ConnectionFailed,
    ConnectionLost,
    ExecwardError,
    Json,
    Lines,
    OnWaiting,
    Outcome,
    RequestFailed,
    already_closed,
    command,
    connected,
    data_of,
    failure,
    find_socket,
    input_steps,
    new_id,
    open_parameters,
    pauses,
    start_parameters,
)

PathText = Union[str, "os.PathLike[str]"]


class _Link:
    """One connection, on which hello has been said. A thread reads replies."""

    def __init__(self, where: str, known: Optional[int], patience: float = GREETING) -> None:
        self._lines = Lines()
        self._send = threading.Lock()
        self._state = threading.Lock()
        self._waiting: Dict[int, "Future[Any]"] = {}
        self._gone: Optional[ConnectionFailed] = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(where)
            self.owner = connected(where, self._socket, known)
        except OSError as error:
            self._socket.close()
            if isinstance(error, ConnectionFailed):
                raise
            raise ConnectionLost(f"{where}: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, name="execward", daemon=True)
        self._reader.start()
        try:
            self.welcome: Json = self.call("hello", {"protocol": PROTOCOL, "client": CLIENT}, patience)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if threading.current_thread() is not self._reader:
            self._reader.join()
        self._socket.close()

    @property
    def alive(self) -> bool:
        with self._state:
            return self._gone is None

    def call(self, method: str, params: Mapping[str, Any], patience: Optional[float] = None) -> Any:
        future: "Future[Any]" = Future()
        with self._send:
            number, line = self._lines.request(method, params)
            with self._state:
                if self._gone is not None:
                    raise self._gone.unsent() if isinstance(self._gone, ConnectionLost) else self._gone
                self._waiting[number] = future
            try:
                self._socket.sendall(line)
            except OSError as error:
                self._fail(ConnectionLost(f"the connection to the daemon: {error}"))
        try:
            return future.result(patience)
        except TimeoutError_:
            if future.done():
                raise
            raise ConnectionLost("the daemon does not answer") from None

    def _read(self) -> None:
        try:
            while True:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise ConnectionLost("the daemon closed the connection")
                for message in self._lines.feed(data):
                    self._take(message)
        except ConnectionFailed as error:
            self._fail(error)
        except OSError as error:
            self._fail(ConnectionLost(f"the connection to the daemon: {error}"))

    def _take(self, message: Json) -> None:
        number = message.get("id")
        with self._state:
            future = self._waiting.pop(number, None) if isinstance(number, int) else None
        if future is None:
            if number is None and "error" in message:
                raise ConnectionFailed(f"the daemon ended the connection: {message['error'].get('message', '')}")
            return
        if "error" in message:
            future.set_exception(failure(message["error"]))
        else:
            future.set_result(message.get("result"))

    def _fail(self, error: ConnectionFailed) -> None:
        with self._state:
            if self._gone is None:
                self._gone = error
            waiting, self._waiting = list(self._waiting.values()), {}
        for future in waiting:
            future.set_exception(error)


class Client:
    """A connection to the daemon. Use it in ``with``, or call :meth:`close`.

    Sessions and commands outlive a daemon that is restarted. So where the connection breaks, the next daemon at the same socket, of
    the same user, is looked for for up to ``reconnect`` seconds (0: not at all), and what was asked for is asked for again where that
    comes to the same. Other requests raise :class:`ConnectionFailed`."""

    def __init__(self, path: Optional[PathText] = None, *, reconnect: float = RECONNECT) -> None:
        self._where = os.fspath(path) if path is not None else find_socket()
        self._reconnect = reconnect
        self._again = threading.Lock()
        self._closed = False
        self._gone: Optional[ConnectionFailed] = None
        self._link = _Link(self._where, None)
        self._owner = self._link.owner

    @property
    def welcome(self) -> Json:
        """What the daemon says of itself and of the caller."""
        return self._link.welcome

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; commands in the foreground end with it."""
        self._closed = True
        self._link.close()

    @property
    def connected(self) -> bool:
        """Whether the daemon is there, as far as is known."""
        return self._gone is None and self._link.alive

    def call(self, method: str, params: Optional[Mapping[str, Any]] = None) -> Any:
        """One request of the protocol, and its result."""
        again = False
        for _ in range(ATTEMPTS):
            if self._gone is not None:
                raise self._gone
            link = self._link
            try:
                return link.call(method, params or {})
            except ConnectionLost as lost:
                if lost.sent and method not in REPEATABLE:
                    raise lost.said_of(method) from lost
                again = again or lost.sent
                self._relink(link, lost)
            except RequestFailed as error:
                if already_closed(method, error, again):
                    return {}
                raise
        raise ConnectionFailed(f"{method}: the connection breaks again and again")

    def _relink(self, link: _Link, lost: ConnectionLost) -> None:
        """Has another connection in the place of one that broke, or says for good that there is none."""
        with self._again:
            if self._link is not link:
                return
            if self._closed or self._reconnect <= 0:
                raise lost
            until = time.monotonic() + self._reconnect
            for pause in pauses():
                try:
                    fresh = _Link(self._where, self._owner, max(1.0, until - time.monotonic()))
                except ConnectionLost:
                    if self._closed or time.monotonic() + pause >= until:
                        self._gone = lost
                        raise lost from None
                    time.sleep(pause)
                except ExecwardError as error:
                    # Somebody else is there, or one that does not serve this user.
                    self._gone = error if isinstance(error, ConnectionFailed) else ConnectionFailed(str(error))
                    raise self._gone from error
                else:
                    link.close()
                    self._link = fresh
                    return

    def session(
        self,
        workspace: PathText,
        *,
        label: Optional[str] = None,
        profile: Optional[str] = None,
        network: Optional[str] = None,
        linger: float = 60,
    ) -> "Session":
        """Opens a session: a sandbox around a directory, in which commands run."""
        params = open_parameters(workspace, label, profile, network, linger)
        return Session(self, self.call("session/open", params))

    def attach(self, session: str) -> "Session":
        """A session that is there already."""
        got = self.call("session/get", {"session": session})
        return Session(self, got)

    def check(self, args: Argv, *, shell: bool = False, cwd: Optional[PathText] = None) -> Json:
        """What would be decided about a command; nothing runs."""
        params: Json = {"command": command(args, shell)}
        if cwd is not None:
            params["cwd"] = os.fspath(cwd)
        result: Json = self.call("gate/check", params)
        return result


class Session:
    """A sandbox around a workspace."""

    def __init__(self, client: Client, opened: Json) -> None:
        self.client = client
        self.id: str = opened["session"]
        self.workspace: str = opened["workspace"]
        #: What confines its commands.
        self.receipt: Json = opened.get("receipt", {})
        #: What a scan of the workspace's agent files found.
        self.scanned: List[Json] = opened.get("scanned", [])

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            self.close()
        except ConnectionFailed:
            # It ends with its connections in any case.
            pass

    def close(self) -> None:
        """Ends it and everything in it."""
        self.client.call("session/close", {"session": self.id})

    def start(
        self,
        args: Argv,
        *,
        shell: bool = False,
        cwd: Optional[PathText] = None,
        env: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        background: bool = False,
        stdin: bool = False,
        persist: bool = False,
        id: Optional[str] = None,
    ) -> "Command":
        """Starts a command. It has been judged when this returns; one that a person must agree to is ``waiting``. With
        ``persist``, shell text goes on where the last such text ended: in its directory, with what it exported."""
        exec_id = id or new_id()
        params = start_parameters(
            exec_id,
            self.id,
            args,
            shell=shell,
            cwd=cwd,
            env=env,
            timeout=timeout,
            background=background,
            stdin=stdin,
            persist=persist,
        )
        return Command(self, args, self.client.call("exec/start", params))

    def describe(self) -> Json:
        """What the daemon says of it now."""
        got: Json = self.client.call("session/get", {"session": self.id})
        return got

    def commands(self) -> List[Json]:
        """Those that run, and those that ended lately."""
        listed: List[Json] = self.client.call("exec/list", {"session": self.id})["execs"]
        return listed

    def run(
        self,
        args: Argv,
        *,
        shell: bool = False,
        cwd: Optional[PathText] = None,
        env: Optional[Mapping[str, str]] = None,
        input: Union[None, str, bytes] = None,
        timeout: Optional[float] = None,
        persist: bool = False,
        check: bool = False,
        text: bool = True,
        encoding: str = "utf-8",
        errors: str = "replace",
        on_waiting: Optional[OnWaiting] = None,
    ) -> "Completed[Any]":
        """Runs a command to its end, as :func:`subprocess.run` does."""
        exec_id = new_id()
        try:
            running = self.start(
                args,
                shell=shell,
                cwd=cwd,
                env=env,
                timeout=timeout,
                stdin=input is not None,
                persist=persist,
                id=exec_id,
            )
            if running.state == "waiting" and on_waiting is not None:
                on_waiting(running.request_id)
            feeder = None
            if input is not None:
                data = input.encode(encoding) if isinstance(input, str) else input
                # A command that writes before it has read everything must not wait for us.
                feeder = threading.Thread(target=running._feed, args=(data,), daemon=True)
                feeder.start()
            out, err = running.communicate()
            if feeder is not None:
                feeder.join()
            if running._unfed is not None:
                raise running._unfed
        except BaseException:
            # By its name: it may run although the reply that says so has not come.
            self._abandon(exec_id)
            raise
        stdout: Any = out.decode(encoding, errors) if text else out
        stderr: Any = err.decode(encoding, errors) if text else err
        report = running.wait()
        assert report is not None, "without a timeout it has ended"
        outcome = Outcome(args, report)
        outcome.raise_for_outcome(stdout, stderr, timeout)
        done: "Completed[Any]" = Completed(args, outcome.returncode(), stdout, stderr, report)
        if check:
            done.check_returncode()
        return done

    def _abandon(self, exec_id: str) -> None:
        try:
            self.client.call("exec/kill", {"session": self.id, "id": exec_id})
        except ExecwardError:
            # It was refused, has ended, or ends with the connection.
            pass


class Command:
    """A command in a session."""

    def __init__(self, session: Session, args: Argv, started: Json) -> None:
        self.session = session
        self.args = args
        self.id: str = started["id"]
        self.request_id: str = started["request_id"]
        #: How far it had come when it was started: ``waiting`` for a person, ``running`` or ``ended``.
        self.state: str = started["state"]
        self._seq = 0
        self._closed = False
        #: Why its input did not all come.
        self._unfed: Optional[ConnectionFailed] = None

    def _of(self, **more: Any) -> Json:
        return {"session": self.session.id, "id": self.id, **more}

    def read(self, timeout: float = 0) -> List[Tuple[str, bytes]]:
        """What it has written since the last time, as pairs of the stream's name and bytes. Waits for something for up to
        ``timeout`` seconds; an empty list says that nothing came, or that there will be no more (:attr:`closed`)."""
        until = time.monotonic() + timeout
        while not self._closed:
            left = max(0.0, until - time.monotonic())
            got = self.session.client.call(
                "exec/read", self._of(after_seq=self._seq, wait_ms=min(WAIT_MS, int(left * 1000)))
            )
            self._seq, self._closed = got["last_seq"], got["closed"]
            if got["chunks"] or left <= 0:
                return [(chunk["stream"], data_of(chunk)) for chunk in got["chunks"]]
        return []

    @property
    def closed(self) -> bool:
        """Whether all of its output has been read."""
        return self._closed

    def communicate(self) -> Tuple[bytes, bytes]:
        """Reads until its output ends."""
        out, err = bytearray(), bytearray()
        while not self._closed:
            for stream, data in self.read(timeout=WAIT_MS / 1000):
                (err if stream == "stderr" else out).extend(data)
        return bytes(out), bytes(err)

    def write(self, data: Union[str, bytes], end: bool = False) -> None:
        """Writes to its standard input; returns when the command has taken it."""
        steps = input_steps(data.encode() if isinstance(data, str) else data)
        for number, step in enumerate(steps, 1):
            last = end and number == len(steps)
            self.session.client.call("exec/write", self._of(base64=b64encode(step).decode(), end=last))

    def _feed(self, data: bytes) -> None:
        try:
            self.write(data, end=True)
        except ConnectionFailed as error:
            # It waits for input of which nobody knows how much it has had.
            self._unfed = error
            try:
                self.kill()
            except ExecwardError:
                pass
        except ExecwardError:
            # It ended before it took everything, as `yes | head` does.
            pass

    def wait(self, timeout: Optional[float] = None) -> Optional[Json]:
        """Its report, once it has ended; ``None`` where it has not within ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_MS if until is None else max(0, min(WAIT_MS, int((until - time.monotonic()) * 1000)))
            report: Optional[Json] = self.session.client.call("exec/wait", self._of(wait_ms=left)).get("report")
            if report is not None or (until is not None and time.monotonic() >= until):
                return report

    def signal(self, name: str) -> None:
        """Sends a signal by its name (``INT``, ``TERM``) to its process group."""
        self.session.client.call("exec/signal", self._of(signal=name))

    def kill(self) -> None:
        """Ends it and everything that it started."""
        self.session.client.call("exec/kill", self._of())


def run(
    args: Argv,
    *,
    workspace: Optional[PathText] = None,
    cwd: Optional[PathText] = None,
    socket_path: Optional[PathText] = None,
    profile: Optional[str] = None,
    **options: Any,
) -> "Completed[Any]":
    """Runs one command in a session of its own. ``workspace`` is what it may change; the directory in which it starts, or
    the current one, where that is left out. The other arguments are those of :meth:`Session.run`."""
    where = workspace if workspace is not None else (cwd if cwd is not None else os.getcwd())
    with Client(socket_path) as client, client.session(where, profile=profile, linger=0) as session:
        return session.run(args, cwd=None if workspace is None else cwd, **options)
