"""A client of execward: run commands that are judged, confined, redacted and recorded.

The functions and classes here block; :mod:`execward.aio` has them for asyncio.
"""

from ._protocol import (
    Completed,
    ConnectionFailed,
    ExecwardError,
    NotExecutable,
    NotFound,
    Refused,
    RequestFailed,
    find_socket,
)
from ._sync import Client, Command, Session, run

__all__ = [
    "Client",
    "Command",
    "Completed",
    "ConnectionFailed",
    "ExecwardError",
    "NotExecutable",
    "NotFound",
    "Refused",
    "RequestFailed",
    "Session",
    "find_socket",
    "run",
]
__version__ = "0.1.0"
