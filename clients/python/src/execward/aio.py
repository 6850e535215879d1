"""The client for asyncio: the same names, with ``await``."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
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

__all__ = ["Client", "Command", "Session", "run"]

PathText = Union[str, "os.PathLike[str]"]


class _Link:
    """One connection, on which hello has been said."""

    def __init__(self, writer: asyncio.StreamWriter, owner: int) -> None:
        self.owner = owner
        self.welcome: Json = {}
        self._writer = writer
        self._lines = Lines()
        self._waiting: Dict[int, "asyncio.Future[Any]"] = {}
        self._gone: Optional[ConnectionFailed] = None
        # Made here: before 3.10 a lock belongs to the loop that was current when it was made.
        self._sending = asyncio.Lock()
        self._task: Optional["asyncio.Task[None]"] = None

    @classmethod
    async def open(cls, where: str, known: Optional[int], patience: float = GREETING) -> "_Link":
        try:
            reader, writer = await asyncio.open_unix_connection(where)
        except OSError as error:
            raise ConnectionLost(f"{where}: {error.strerror}") from error
        try:
            link = cls(writer, connected(where, writer.get_extra_info("socket"), known))
        except BaseException:
            writer.close()
            raise
        link._task = asyncio.ensure_future(link._read(reader))
        try:
            hello = link.call("hello", {"protocol": PROTOCOL, "client": CLIENT})
            link.welcome = await asyncio.wait_for(hello, patience)
        except asyncio.TimeoutError:
            await link.close()
            raise ConnectionLost("the daemon does not answer") from None
        except BaseException:
            await link.close()
            raise
        return link

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        if self._gone is not None:
            raise self._gone.unsent() if isinstance(self._gone, ConnectionLost) else self._gone
        number, line = self._lines.request(method, params)
        future: "asyncio.Future[Any]" = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            try:
                # In older versions only one may wait in `drain` at a time.
                async with self._sending:
                    self._writer.write(line)
                    await self._writer.drain()
            except OSError as error:
                raise ConnectionLost(f"the connection to the daemon: {error}") from error
            return await future
        finally:
            self._waiting.pop(number, None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        gone = ConnectionFailed("the connection was closed")
        try:
            while True:
                data = await reader.read(1 << 16)
                if not data:
                    gone = ConnectionLost("the daemon closed the connection")
                    return
                for message in self._lines.feed(data):
                    self._take(message)
        except ConnectionFailed as error:
            gone = error
        except OSError as error:
            gone = ConnectionLost(f"the connection to the daemon: {error}")
        finally:
            self._gone = gone
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(gone)

    def _take(self, message: Json) -> None:
        number = message.get("id")
        future = self._waiting.get(number) if isinstance(number, int) else None
        if future is None:
            if number is None and "error" in message:
                raise ConnectionFailed(f"the daemon ended the connection: {message['error'].get('message', '')}")
            return
        if future.done():
            return
        if "error" in message:
            future.set_exception(failure(message["error"]))
        else:
            future.set_result(message.get("result"))


class Client:
    """A connection to the daemon, made by :meth:`connect` or by ``async with Client()``. One that breaks is made again as
    :class:`execward.Client` says."""

    def __init__(self, path: Optional[PathText] = None, *, reconnect: float = RECONNECT) -> None:
        self._path = path
        self._where = ""
        self._reconnect = reconnect
        self._link: Optional[_Link] = None
        self._again: Optional[asyncio.Lock] = None
        self._closed = False
        self._gone: Optional[ConnectionFailed] = None

    @classmethod
    async def connect(cls, path: Optional[PathText] = None, *, reconnect: float = RECONNECT) -> "Client":
        client = cls(path, reconnect=reconnect)
        await client._open()
        return client

    async def _open(self) -> None:
        self._where = os.fspath(self._path) if self._path is not None else find_socket()
        self._again = asyncio.Lock()
        self._link = await _Link.open(self._where, None)

    @property
    def welcome(self) -> Json:
        """What the daemon says of itself and of the caller."""
        return self._link.welcome if self._link is not None else {}

    async def __aenter__(self) -> "Client":
        if self._link is None:
            await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; commands in the foreground end with it."""
        self._closed = True
        if self._link is not None:
            await self._link.close()

    async def call(self, method: str, params: Optional[Mapping[str, Any]] = None) -> Any:
        """One request of the protocol, and its result."""
        again = False
        for _ in range(ATTEMPTS):
            if self._gone is not None:
                raise self._gone
            link = self._link
            if link is None:
                raise ConnectionFailed("there is no connection: use `async with`, or Client.connect")
            try:
                return await link.call(method, params or {})
            except ConnectionLost as lost:
                if lost.sent and method not in REPEATABLE:
                    raise lost.said_of(method) from lost
                again = again or lost.sent
                await self._relink(link, lost)
            except RequestFailed as error:
                if already_closed(method, error, again):
                    return {}
                raise
        raise ConnectionFailed(f"{method}: the connection breaks again and again")

    async def _relink(self, link: _Link, lost: ConnectionLost) -> None:
        """Has another connection in the place of one that broke, or says for good that there is none."""
        assert self._again is not None, "there was a connection"
        async with self._again:
            if self._link is not link:
                return
            if self._closed or self._reconnect <= 0:
                raise lost
            loop = asyncio.get_running_loop()
            until = loop.time() + self._reconnect
            for pause in pauses():
                try:
                    fresh = await _Link.open(self._where, link.owner, max(1.0, until - loop.time()))
                except ConnectionLost:
                    if self._closed or loop.time() + pause >= until:
                        self._gone = lost
                        raise lost from None
                    await asyncio.sleep(pause)
                except ExecwardError as error:
                    # Somebody else is there, or one that does not serve this user.
                    self._gone = error if isinstance(error, ConnectionFailed) else ConnectionFailed(str(error))
                    raise self._gone from error
                else:
                    await link.close()
                    self._link = fresh
                    return

    async def session(
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
        return Session(self, await self.call("session/open", params))

    async def attach(self, session: str) -> "Session":
        """A session that is there already."""
        return Session(self, await self.call("session/get", {"session": session}))

    async def check(self, args: Argv, *, shell: bool = False, cwd: Optional[PathText] = None) -> Json:
        """What would be decided about a command; nothing runs."""
        params: Json = {"command": command(args, shell)}
        if cwd is not None:
            params["cwd"] = os.fspath(cwd)
        result: Json = await self.call("gate/check", params)
        return result


class Session:
    """A sandbox around a workspace."""

    def __init__(self, client: Client, opened: Json) -> None:
        self.client = client
        self.id: str = opened["session"]
        self.workspace: str = opened["workspace"]
        self.receipt: Json = opened.get("receipt", {})
        self.scanned: List[Json] = opened.get("scanned", [])

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            await self.close()
        except ConnectionFailed:
            pass

    async def close(self) -> None:
        """Ends it and everything in it."""
        await self.client.call("session/close", {"session": self.id})

    async def start(
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
        params = start_parameters(
            id or new_id(),
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
        return Command(self, args, await self.client.call("exec/start", params))

    async def describe(self) -> Json:
        """What the daemon says of it now."""
        got: Json = await self.client.call("session/get", {"session": self.id})
        return got

    async def commands(self) -> List[Json]:
        """Those that run, and those that ended lately."""
        listed: List[Json] = (await self.client.call("exec/list", {"session": self.id}))["execs"]
        return listed

    async def run(
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
        """Runs a command to its end. When the task is cancelled, the command is ended."""
        exec_id = new_id()
        feeder: Optional["asyncio.Task[None]"] = None
        try:
            running = await self.start(
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
            if input is not None:
                data = input.encode(encoding) if isinstance(input, str) else input
                feeder = asyncio.ensure_future(running._feed(data))
            out, err = await running.communicate()
            if feeder is not None:
                await feeder
            if running._unfed is not None:
                raise running._unfed
            report = await running.wait()
        except BaseException:
            if feeder is not None:
                feeder.cancel()
            # By its name: it may run although the reply that says so has not come.
            await asyncio.shield(self._abandon(exec_id))
            raise
        assert report is not None, "without a timeout it has ended"
        stdout: Any = out.decode(encoding, errors) if text else out
        stderr: Any = err.decode(encoding, errors) if text else err
        outcome = Outcome(args, report)
        outcome.raise_for_outcome(stdout, stderr, timeout)
        done: "Completed[Any]" = Completed(args, outcome.returncode(), stdout, stderr, report)
        if check:
            done.check_returncode()
        return done

    async def _abandon(self, exec_id: str) -> None:
        try:
            await self.client.call("exec/kill", {"session": self.id, "id": exec_id})
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
        self.state: str = started["state"]
        self._seq = 0
        self._closed = False
        #: Why its input did not all come.
        self._unfed: Optional[ConnectionFailed] = None

    def _of(self, **more: Any) -> Json:
        return {"session": self.session.id, "id": self.id, **more}

    async def read(self, timeout: float = 0) -> List[Tuple[str, bytes]]:
        """What it has written since the last time; see :meth:`execward.Command.read`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while not self._closed:
            left = max(0.0, until - loop.time())
            params = self._of(after_seq=self._seq, wait_ms=min(WAIT_MS, int(left * 1000)))
            got = await self.session.client.call("exec/read", params)
            self._seq, self._closed = got["last_seq"], got["closed"]
            if got["chunks"] or left <= 0:
                return [(chunk["stream"], data_of(chunk)) for chunk in got["chunks"]]
        return []

    @property
    def closed(self) -> bool:
        """Whether all of its output has been read."""
        return self._closed

    async def communicate(self) -> Tuple[bytes, bytes]:
        """Reads until its output ends."""
        out, err = bytearray(), bytearray()
        while not self._closed:
            for stream, data in await self.read(timeout=WAIT_MS / 1000):
                (err if stream == "stderr" else out).extend(data)
        return bytes(out), bytes(err)

    async def write(self, data: Union[str, bytes], end: bool = False) -> None:
        """Writes to its standard input; returns when the command has taken it."""
        steps = input_steps(data.encode() if isinstance(data, str) else data)
        for number, step in enumerate(steps, 1):
            last = end and number == len(steps)
            await self.session.client.call("exec/write", self._of(base64=b64encode(step).decode(), end=last))

    async def _feed(self, data: bytes) -> None:
        try:
            await self.write(data, end=True)
        except ConnectionFailed as error:
            # It waits for input of which nobody knows how much it has had.
            self._unfed = error
            try:
                await self.kill()
            except ExecwardError:
                pass
        except ExecwardError:
            pass

    async def wait(self, timeout: Optional[float] = None) -> Optional[Json]:
        """Its report, once it has ended; ``None`` where it has not within ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while True:
            left = WAIT_MS if until is None else max(0, min(WAIT_MS, int((until - loop.time()) * 1000)))
            waited = await self.session.client.call("exec/wait", self._of(wait_ms=left))
            report: Optional[Json] = waited.get("report")
            if report is not None or (until is not None and loop.time() >= until):
                return report

    async def signal(self, name: str) -> None:
        """Sends a signal by its name (``INT``, ``TERM``) to its process group."""
        await self.session.client.call("exec/signal", self._of(signal=name))

    async def kill(self) -> None:
        """Ends it and everything that it started."""
        await self.session.client.call("exec/kill", self._of())


async def run(
    args: Argv,
    *,
    workspace: Optional[PathText] = None,
    cwd: Optional[PathText] = None,
    socket_path: Optional[PathText] = None,
    profile: Optional[str] = None,
    **options: Any,
) -> "Completed[Any]":
    """Runs one command in a session of its own; see :func:`execward.run`."""
    where = workspace if workspace is not None else (cwd if cwd is not None else os.getcwd())
    async with Client(socket_path) as client:
        async with await client.session(where, profile=profile, linger=0) as session:
            return await session.run(args, cwd=None if workspace is None else cwd, **options)
