"""From the arguments of `request` and `arequest` to what the engine takes, for either colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from . import _logging
from ._bytestreams import PlainByteStream
from ._connections.requests import Request, RequestBody, Source
from ._connections.routes import Hop, Route
from ._connections.timeouts import UNLIMITED, read_timeouts
from ._connections.trace import Trace
from ._protocols.fields import find_name, no_fields
from ._protocols.http11 import KeptFields
from ._types import URL, Extensions, HeaderFields
from ._urls import absolute_target, authority, check_url, direct_route, proxied_route

if TYPE_CHECKING:
    pass

REMEMBERED_ROUTES = 10_000
"""Routes kept so that the next request to the same origin need not be checked again."""

REMEMBERED_FIELDS = 1000
"""Lists of fields that are kept, each merged with those of the proxy."""

REMEMBERED_SIZE = 1024
"""Bytes up to which a list is kept."""


class Router:
    """Turns URLs into routes, by the rules of one pool or proxy, and remembers them."""

    def __init__(
        self, *, hop: Hop | None = None, forwards: tuple[bytes, ...] = (), headers: HeaderFields = ()
    ) -> None:
        self.hop = hop
        self.forwards = forwards
        """The schemes that the proxy is asked to forward instead of tunnelling."""
        self.headers = headers
        self._known: dict[tuple[bytes, bytes, int | None], Route] = {}
        self._merged: dict[HeaderFields, KeptFields] = {}

    def route(self, url: URL) -> Route:
        """The route of a URL; `UnsupportedProtocol` or `LocalProtocolError` if there is none."""
        scheme, host, port, _ = check_url(url)
        if self.hop is None:
            route = direct_route(scheme, host, port)
        else:
            route = proxied_route(scheme, host, port, hop=self.hop, is_forwarded=scheme in self.forwards)
        if len(self._known) >= REMEMBERED_ROUTES:
            self._known.clear()
        self._known[scheme, host, port] = route
        return route

    def prepare(
        self,
        method: bytes,
        url: URL,
        headers: HeaderFields | None,
        stream: object,
        ext: Extensions | None,
        open_source: Callable[[object], Source],
    ) -> Request:
        """Check the arguments, and return the request."""
        try:
            scheme, host, port, target = url
            route = self._known[scheme, host, port]
        except (KeyError, TypeError, ValueError):
            route = self.route(url)
            scheme, host, port, target = url
        if not isinstance(method, bytes):
            raise TypeError(f"The method must be bytes, not {type(method).__name__}.")
        if not isinstance(target, bytes):
            raise TypeError(f"The URL's target must be bytes, not {type(target).__name__}.")
        timeouts, trace = UNLIMITED, None
        if ext is not None:
            if type(ext) is not dict and not isinstance(ext, Mapping):
                raise TypeError(f"ext must be a mapping, not {type(ext).__name__}.")
            timeouts = read_timeouts(ext.get("timeout"))
            if "trace" in ext and ext["trace"] is not None:
                trace = Trace(ext["trace"])
        if _logging.log is not None:
            trace = Trace(_logging.logged(_logging.log, None if trace is None else trace.hook))
        fields: HeaderFields = () if headers is None else headers
        if type(fields) is not list and isinstance(fields, Iterator):
            # It is read more than once: before there is a connection, and for each that the request meets.
            fields = tuple(fields)
        if route.is_forwarded:
            if method != b"CONNECT":
                # The caller's own tunnel is asked for as it is (RFC 9112 §3.2.3).
                target = absolute_target(route, target)
            if self.headers:
                fields = self._merge(fields)
        body = None if stream is None else read_body(stream, open_source)
        request = Request()
        request.method = method
        request.target = target
        request.headers = fields
        request.route = route
        request.body = body
        request.timeouts = timeouts
        request.trace = trace
        return request

    def _merge(self, fields: HeaderFields) -> HeaderFields:
        """The proxy's fields whose names the request does not use, then the request's own."""
        own = tuple(fields)
        try:
            known = self._merged.get(own)
        except TypeError:
            # A field that has no hash may change before it is sent again.
            return self._merge_anew(own)
        if known is None:
            known = KeptFields(self._merge_anew(own))
            if _may_be_kept(own):
                if len(self._merged) >= REMEMBERED_FIELDS:
                    self._merged.clear()
                self._merged[own] = known
        return known

    def _merge_anew(self, own: HeaderFields) -> HeaderFields:
        try:
            used = {name.lower() for name, _ in own}
        except (AttributeError, TypeError, ValueError):
            raise no_fields(own) from None
        return [*(field for field in self.headers if field[0].lower() not in used), *own]


def _may_be_kept(fields: HeaderFields) -> bool:
    """The proxy's credentials are kept by the proxy in any case; those of a request are kept nowhere."""
    names = [find_name(name) for name, _ in fields]
    size = sum(len(name) + len(value) for name, value in fields)
    return size <= REMEMBERED_SIZE and not any(name is None or name.is_secret for name in names)


def read_body(stream: object, open_source: Callable[[object], Source]) -> RequestBody:
    """The body of a request; one of plain bytes is known whole, any other is taken piece by piece."""
    if type(stream) is PlainByteStream:
        return RequestBody(content=stream._content)
    return RequestBody(source=open_source(stream))


def check_chunk(chunk: object) -> bytes:
    """A piece of the caller's body as bytes."""
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, (bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"A request body must yield bytes, not {type(chunk).__name__}.")


def origin_url(route: Route) -> str:
    """What `get_connection_info` calls where connections lead: an origin, or a proxy that forwards."""
    if route.hop is not None and route.is_forwarded:
        hop = route.hop
        return f"{hop.scheme.decode('ascii')}://{authority(hop.scheme, hop.host.encode(), hop.port).decode()}"
    return f"{route.scheme.decode('ascii')}://{route.authority.decode('latin-1')}"
