"""What hypercorn serves: an ASGI application with the paths that the other servers have too, and a few more."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BIG = Path("root", "big")
PIECE = 256 * 1024
"""Bytes that are sent at once."""

RELEASE = Path("release")
"""Once this file exists, `/held` sends what it owes after the head."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    answer = PATHS.get(scope["path"])
    if answer is None:
        await reply(send, 404, b"not found")
    else:
        await answer(scope, receive, send)


def is_released() -> bool:
    return RELEASE.exists()


def pieces() -> Iterator[bytes]:
    with BIG.open("rb") as file:
        while data := file.read(PIECE):
            yield data


async def reply(send: Send, status: int, body: bytes, *, trailers: bool = False) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": trailers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, 200, b"" if scope["method"] == "HEAD" else b"Hello, world!")


async def held(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not is_released():  # noqa: ASYNC110 (another process says so)
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"Hello, world!"})


async def trailing(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, 200, b"Hello, world!", trailers=True)
    await send({"type": "http.response.trailers", "headers": [(b"x-end", b"reached")]})


async def hinted(scope: Scope, receive: Receive, send: Send) -> None:
    """An interim head goes before the final one."""
    await send({"type": "http.response.early_hint", "links": [b"</style>"]})
    await hello(scope, receive, send)


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for data in pieces():
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def digest(scope: Scope, receive: Receive, send: Send) -> None:
    """The SHA-256 of what was sent."""
    found = hashlib.sha256()
    while True:
        message = await receive()
        found.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    await reply(send, 200, found.digest())


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, 403, b"no")


PATHS: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
    "/hello": hello,
    "/held": held,
    "/hinted": hinted,
    "/trailing": trailing,
    "/big": big,
    "/digest": digest,
    "/refuse": refuse,
}
