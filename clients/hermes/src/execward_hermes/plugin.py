"""Makes Hermes know the backend.

Hermes has a fixed list of backends and no way to add to it (seen in 0.19), so that three of its functions are replaced by ones that
know one name more. Where they are not what they were, nothing is replaced: Hermes then refuses the unknown name, and runs nothing.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import threading
import time
import uuid
from typing import Any, Optional

from execward import Client, ExecwardError

from .environment import ExecwardEnvironment
from .process import Background, told

#: What ``TERMINAL_ENV`` and ``terminal.backend`` call it.
NAME = "execward"

logger = logging.getLogger(__name__)


def register(_context: Any) -> None:
    """Called by Hermes, where ``plugins.enabled`` names the plugin."""
    install()


def install() -> None:
    """Makes the backend known to the Hermes that is imported here.

    Raises :class:`ImportError` where this Hermes is not built as the one that this was written for.
    """
    from tools import terminal_tool
    from tools.process_registry import ProcessRegistry
    from tools.registry import registry

    if getattr(terminal_tool, "_execward_installed", False):
        return
    try:
        create = terminal_tool._create_environment
        check = terminal_tool.check_terminal_requirements
        spawn = ProcessRegistry.spawn_via_env
        entries = list(registry._tools.values())
        for function, names in ((create, {"env_type", "cwd", "timeout"}), (spawn, {"env", "command", "cwd"})):
            if not names <= set(inspect.signature(function).parameters):
                raise AttributeError(f"{function.__qualname__} takes other arguments")
        ProcessRegistry._pty_reader_loop, ProcessRegistry._prune_if_needed, ProcessRegistry._write_checkpoint
    except AttributeError as error:
        raise ImportError(f"this Hermes cannot be given a terminal backend: {error}") from error

    @functools.wraps(create)
    def create_environment(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(create).bind(*args, **kwargs).arguments
        if given["env_type"] != NAME:
            return create(*args, **kwargs)
        return environment(given["cwd"], given["timeout"], given.get("task_id"))

    @functools.wraps(check)
    def check_terminal_requirements() -> bool:
        if os.getenv("TERMINAL_ENV", "").strip() != NAME:
            return bool(check())
        return reachable()

    @functools.wraps(spawn)
    def spawn_via_env(self: Any, env: Any, command: str, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(env, ExecwardEnvironment):
            return spawn(self, env, command, *args, **kwargs)
        given = inspect.signature(spawn).bind(self, env, command, *args, **kwargs).arguments
        return spawn_in_background(self, env, command, given)

    terminal_tool._create_environment = create_environment
    terminal_tool.check_terminal_requirements = check_terminal_requirements
    for entry in entries:
        if entry.check_fn is check:
            entry.check_fn = check_terminal_requirements
    for toolset, function in list(getattr(registry, "_toolset_checks", {}).items()):
        if function is check:
            registry._toolset_checks[toolset] = check_terminal_requirements
    ProcessRegistry.spawn_via_env = spawn_via_env
    terminal_tool._execward_installed = True


def environment(cwd: str, timeout: int, task: Optional[str] = None) -> ExecwardEnvironment:
    """An environment as the process's own variables describe it: the README lists them."""
    workspace = os.getenv("EXECWARD_WORKSPACE") or os.getenv("TERMINAL_CWD") or os.getcwd()
    return ExecwardEnvironment(
        os.path.expanduser(workspace),
        cwd,
        timeout,
        socket=os.getenv("EXECWARD_SOCKET") or None,
        profile=os.getenv("EXECWARD_PROFILE") or None,
        network=os.getenv("EXECWARD_NETWORK") or None,
        label=f"hermes {task}" if task else "hermes",
    )


def reachable() -> bool:
    """Whether a daemon answers."""
    try:
        Client(os.getenv("EXECWARD_SOCKET") or None).close()
    except ExecwardError as error:
        logger.error("the terminal backend execward has no daemon: %s", error)
        return False
    return True


def spawn_in_background(registry: Any, env: ExecwardEnvironment, command: str, given: Any) -> Any:
    """What ``spawn_via_env`` does elsewhere by a shell that it leaves behind: here nothing outlives its command, and a command in
    the background is one that the daemon knows."""
    from tools.process_registry import ProcessSession

    cwd = given.get("cwd") or env.cwd
    try:
        started = env.start(command, cwd)
    except ExecwardError as error:
        # Hermes then says that it could not be started, and why.
        raise RuntimeError(told(error).strip()) from error
    session = ProcessSession(
        id=f"proc_{uuid.uuid4().hex[:12]}",
        command=command,
        task_id=given.get("task_id") or "",
        session_key=given.get("session_key") or "",
        cwd=cwd,
        started_at=time.time(),
        env_ref=env,
        pid_scope="sandbox",
    )
    session._pty = Background(started)
    session._reader_thread = threading.Thread(
        target=registry._pty_reader_loop, args=(session,), daemon=True, name=f"proc-execward-{session.id}"
    )
    with registry._lock:
        registry._prune_if_needed()
        registry._running[session.id] = session
    session._reader_thread.start()
    registry._write_checkpoint()
    return session
