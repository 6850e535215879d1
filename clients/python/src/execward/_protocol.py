"""What both clients share: lines, errors, and what a report means. Nothing here waits."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import socket
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, AnyStr, Callable, Dict, Generic, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

PROTOCOL = 1
CLIENT = "execward-python 0.1.0"
#: The daemon's lines may be longer than a client's; this is where we stop believing in them.
MAX_LINE = 32 << 20
#: The longest that one request waits; longer waits ask again.
WAIT_MS = 20_000
#: Bytes of input in one request: in base64 and with its frame it stays below the daemon's limit of 1 MiB.
WRITE_STEP = 256 << 10
#: How long a daemon that has gone is looked for, in seconds, unless it is said otherwise: sessions outlive it for a minute.
RECONNECT = 30.0
#: How long a daemon may take to greet.
GREETING = 60.0
#: How often one request is made again at most, whatever happens to the connections.
ATTEMPTS = 8
#: Requests that come to the same when they are made twice: a daemon starts no command of the same name again, and reading goes on
#: after what was read. Input that was on its way, and a signal, may have arrived or not.
REPEATABLE = frozenset(
    {
        "session/open",
        "session/get",
        "session/list",
        "session/close",
        "exec/start",
        "exec/read",
        "exec/range",
        "exec/wait",
        "exec/list",
        "exec/kill",
        "exec/resize",
        "gate/check",
        "scan/path",
    }
)

Json = Dict[str, Any]
Argv = Union[str, Sequence[Union[str, "os.PathLike[str]"]]]
OnWaiting = Callable[[str], None]


class ExecwardError(Exception):
    """Anything that execward, and not the command, has to say."""


class ConnectionFailed(ExecwardError, ConnectionError):
    """There is no daemon, or it went away. A command that was under way may have run."""


class ConnectionLost(ConnectionFailed):
    """The connection broke. ``sent`` is whether the request may have reached the daemon."""

    def __init__(self, text: str, sent: bool = True) -> None:
        super().__init__(text)
        self.sent = sent

    def unsent(self) -> "ConnectionLost":
        """The same for a request that was never sent."""
        return ConnectionLost(str(self), False)

    def said_of(self, method: str) -> ConnectionFailed:
        """The same for whoever made a request that is not made again."""
        return ConnectionFailed(f"{self}: whether {method} was done is not known")


class RequestFailed(ExecwardError):
    """The daemon refused a request: ``code``, ``message``, and where it knows a way out, ``hint``."""

    def __init__(self, error: Json) -> None:
        data = error.get("data") or {}
        self.code: int = error.get("code", 0)
        self.message: str = error.get("message", "")
        self.hint: str = data.get("hint", "")
        self.reason: str = data.get("reason", "")
        self.rule: str = data.get("rule", "")
        self.findings: List[Json] = data.get("findings", [])
        self.request_id: Optional[str] = data.get("request_id")
        text = self.reason or self.message
        super().__init__(f"{text} ({self.hint})" if self.hint else text)


class Refused(RequestFailed, PermissionError):
    """The policy or a person said no. What was asked for did not run."""

    def __init__(self, error: Json) -> None:
        super().__init__(error)
        if not self.rule and self.findings:
            self.rule = self.findings[0].get("rule", "")


class NotFound(ExecwardError, FileNotFoundError):
    """There is no such program."""


class NotExecutable(ExecwardError, PermissionError):
    """The program cannot be executed."""


#: Codes of :class:`RequestFailed` that mean no, and not that something went wrong.
REFUSALS = frozenset({1300, 1301})


def failure(error: Json) -> RequestFailed:
    return Refused(error) if error.get("code") in REFUSALS else RequestFailed(error)


@dataclass
class Completed(Generic[AnyStr]):
    """A command that has ended, as :class:`subprocess.CompletedProcess` has it."""

    args: Argv
    returncode: int
    stdout: Optional[AnyStr] = None
    stderr: Optional[AnyStr] = None
    #: Everything that the daemon says of it: outcome, findings, timing, receipt, what was withheld and masked.
    report: Json = field(default_factory=dict, repr=False)

    def check_returncode(self) -> None:
        """Raises :class:`subprocess.CalledProcessError` where the code is not 0."""
        if self.returncode:
            raise subprocess.CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)


def find_socket(name: str = "agent") -> str:
    """The socket that ``EXECWARD_SOCKET`` names, for agents; else the system's daemon's, else the user's own."""
    named = os.environ.get("EXECWARD_SOCKET", "") if name == "agent" else ""
    if named:
        return named
    places = [Path("/run/execward")]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        places.append(Path(runtime) / "execward")
    for place in places:
        path = place / f"{name}.sock"
        if path.exists():
            return str(path)
    raise ConnectionFailed(f"no execward daemon: neither {' nor '.join(map(str, places))} has {name}.sock")


def command(args: Argv, shell: bool) -> Json:
    """A command of the protocol. Text needs ``shell=True``: nothing here splits or guesses."""
    if isinstance(args, str):
        if not shell:
            raise TypeError("a command is a list of words; text is for shell=True")
        return {"shell": args}
    if shell:
        raise TypeError("shell=True takes text, not a list")
    return {"argv": [os.fspath(word) for word in args]}


def start_parameters(
    exec_id: str,
    session: str,
    args: Argv,
    *,
    shell: bool,
    cwd: Union[None, str, "os.PathLike[str]"],
    env: Optional[Mapping[str, str]],
    timeout: Optional[float],
    background: bool,
    stdin: bool,
    persist: bool,
) -> Json:
    params: Json = {"id": exec_id, "session": session, "command": command(args, shell), "output": {"mode": "poll"}}
    if cwd is not None:
        params["cwd"] = os.fspath(cwd)
    if env:
        params["env"] = dict(env)
    if timeout is not None:
        params["timeout_ms"] = max(1, int(timeout * 1000))
    if background:
        params["background"] = True
    if stdin:
        params["stdin"] = "pipe"
    if persist:
        params["persist"] = True
    return params


def open_parameters(
    workspace: Union[str, "os.PathLike[str]"], label: Optional[str], profile: Optional[str], network: Optional[str], linger: float
) -> Json:
    params: Json = {"workspace": os.path.abspath(os.fspath(workspace)), "linger_ms": int(linger * 1000)}
    for name, value in (("label", label), ("profile", profile), ("network", network)):
        if value is not None:
            params[name] = value
    return params


def new_id() -> str:
    return secrets.token_hex(8)


def data_of(part: Mapping[str, Any]) -> bytes:
    """The bytes of a chunk or of input, which are text or base64."""
    if "text" in part:
        text: str = part["text"]
        return text.encode()
    return base64.b64decode(part.get("base64", ""))


def input_steps(data: bytes) -> List[bytes]:
    return [data[at : at + WRITE_STEP] for at in range(0, len(data), WRITE_STEP)] or [b""]


def owner(sock: "socket.socket") -> int:
    """The user of whoever listens (SO_PEERCRED, unix(7))."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def connected(where: str, sock: "socket.socket", known: Optional[int]) -> int:
    """The owner of a connection; where one is known already, it has to be the same."""
    uid = owner(sock)
    if known is not None and uid != known:
        raise ConnectionFailed(f"{where}: uid {uid} listens there now, and not {known} as before")
    return uid


def pauses() -> Iterator[float]:
    """How long to wait between tries to connect again."""
    pause = 0.05
    while True:
        yield pause
        pause = min(1.0, pause * 2)


def already_closed(method: str, error: RequestFailed, again: bool) -> bool:
    """Whether a session that is to be closed was closed by the same request, whose reply was lost."""
    return again and method == "session/close" and error.code == 1100


class Outcome:
    """What a report means for whoever called."""

    def __init__(self, args: Argv, report: Json) -> None:
        self.args = args
        self.report = report
        self.kind: str = report.get("outcome", "failed")

    def returncode(self) -> int:
        if self.kind == "exited":
            return int(self.report["code"])
        if self.kind in ("signaled", "cancelled"):
            return -int(self.report.get("signal", 0))
        return {"timed-out": 124, "not-executable": 126, "refused": 126, "not-found": 127}.get(self.kind, 125)

    def raise_for_outcome(self, stdout: Any, stderr: Any, timeout: Optional[float]) -> None:
        """Raises where the command did not come to an end of its own."""
        if self.kind == "timed-out":
            raise subprocess.TimeoutExpired(self.args, timeout or 0, stdout, stderr)
        if self.kind == "refused":
            data = {key: self.report.get(key) for key in ("reason", "findings", "request_id") if self.report.get(key)}
            raise Refused({"code": 1301, "message": "the command was refused", "data": data})
        if self.kind == "not-found":
            raise NotFound(f"no such program: {self.report.get('program', '')}")
        if self.kind == "not-executable":
            raise NotExecutable(f"cannot be executed: {self.report.get('program', '')}")
        if self.kind == "failed":
            raise ExecwardError(self.report.get("error", "execward could not run it"))


class Lines:
    """Requests out, messages in."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._rest = bytearray()

    def request(self, method: str, params: Mapping[str, Any]) -> Tuple[int, bytes]:
        number = next(self._numbers)
        line = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        return number, json.dumps(line, ensure_ascii=False).encode("utf-8", "strict") + b"\n"

    def feed(self, data: bytes) -> List[Json]:
        """The messages that are complete."""
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > MAX_LINE:
                raise ConnectionFailed("the daemon sends a line without end")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        try:
            return [json.loads(line) for line in lines if line]
        except ValueError as error:
            raise ConnectionFailed(f"the daemon said something that cannot be understood: {error}") from error
