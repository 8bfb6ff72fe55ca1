"""A low-level HTTP transport: connection pools, proxies and byte streams, sync and async."""

from ._async_api import AsyncConnectionPool, AsyncHTTPProxy
from ._bytestreams import (
    AsyncByteStream,
    AsyncIteratorByteStream,
    IteratorByteStream,
    PlainByteStream,
    SyncByteStream,
)
from ._exceptions import (
    CloseError,
    ConnectError,
    ConnectTimeout,
    LocalProtocolError,
    NetworkError,
    PoolTimeout,
    ProtocolError,
    ProxyError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
    WriteError,
    WriteTimeout,
)
from ._logging import set_up_logging as _set_up_logging
from ._sync_api import SyncConnectionPool, SyncHTTPProxy
from ._transports import AsyncHTTPTransport, SyncHTTPTransport

__version__ = "1.1.0.dev0"

__all__ = [
    "AsyncByteStream",
    "AsyncConnectionPool",
    "AsyncHTTPProxy",
    "AsyncHTTPTransport",
    "AsyncIteratorByteStream",
    "CloseError",
    "ConnectError",
    "ConnectTimeout",
    "IteratorByteStream",
    "LocalProtocolError",
    "NetworkError",
    "PlainByteStream",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "SyncByteStream",
    "SyncConnectionPool",
    "SyncHTTPProxy",
    "SyncHTTPTransport",
    "TimeoutException",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
    "__version__",
]

_set_up_logging()

# The names are at home here, wherever the classes are written.
for _name in __all__:
    if _name != "__version__":
        globals()[_name].__module__ = "httpcore"
