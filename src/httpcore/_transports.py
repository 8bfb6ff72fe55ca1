"""The base classes of transports."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from ._bytestreams import AsyncByteStream, SyncByteStream
from ._types import URL, Extensions, Headers

S = TypeVar("S", bound="SyncHTTPTransport")
A = TypeVar("A", bound="AsyncHTTPTransport")


class SyncHTTPTransport:
    """The interface of what sends an HTTP request and returns its response."""

    def request(
        self,
        method: bytes,
        url: URL,
        headers: Headers | None = None,
        stream: SyncByteStream | None = None,
        ext: Extensions | None = None,
    ) -> tuple[int, Headers, SyncByteStream, dict[str, object]]:
        """Send one request; return `(status, headers, stream, ext)`.

        `url` is `(scheme, host, port | None, target)` in bytes; `headers` go out as they are.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close what is open. The base class has nothing to close."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()


class AsyncHTTPTransport:
    """The interface of what sends an HTTP request and returns its response."""

    async def arequest(
        self,
        method: bytes,
        url: URL,
        headers: Headers | None = None,
        stream: AsyncByteStream | None = None,
        ext: Extensions | None = None,
    ) -> tuple[int, Headers, AsyncByteStream, dict[str, object]]:
        """Send one request; return `(status, headers, stream, ext)`.

        `url` is `(scheme, host, port | None, target)` in bytes; `headers` go out as they are.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close what is open. The base class has nothing to close."""

    async def __aenter__(self: A) -> A:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()
