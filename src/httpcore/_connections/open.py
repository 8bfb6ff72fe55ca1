"""The one path to an open connection: dial → proxy → TLS → ALPN → engine.

Each attempt has one deadline. Whatever ends an attempt early, a cancellation included, aborts the stream
before the exception leaves; none of that waits.
"""

from __future__ import annotations

import socket

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._backends.addresses import AddressCache, dial, dial_unix, look_up
from .._backends.base import Backend, Stream
from .._exceptions import ConnectError, ConnectTimeout, ProxyError
from .._types import SocketOption
from .http11 import HTTP11Connection
from .requests import Connection
from .routes import Hop, Route
from .timeouts import Timeouts
from .trace import Trace, traced

if TYPE_CHECKING:
    from .tls import TLSIdentity


class Connector:
    """Opens connections with one set of options."""
