"""A terminal backend for Hermes (https://github.com/NousResearch/hermes-agent): its tools run everything in an execward session.

:mod:`execward_hermes.plugin` makes it known to Hermes under the name ``execward``.
"""

from .environment import ExecwardEnvironment
from .plugin import NAME, install

__all__ = ["NAME", "ExecwardEnvironment", "install"]
__version__ = "0.1.0"
