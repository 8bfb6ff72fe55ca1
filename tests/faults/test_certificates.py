"""Certificates: who is believed, and who is not."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

import httpcore
from httpcore._connections import contexts

from ..colours import Colour
from ..peers.certificates import DAY, Authority, client_context, server_context
from ..peers.scripted import Server, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


async def _refused(
    colour: Colour, context: ssl.SSLContext, host: bytes = b"127.0.0.1", **options: object
) -> str:
    """A ConnectError, no byte of the request sent; the pool goes on."""
    with Server(serve, context=context) as server, Server(serve) as plain:
        async with colour.client(
            **{"ssl_context": client_context(), "max_connections": 1, **options}
        ) as client:
            with pytest.raises(httpcore.ConnectError) as caught:
                await client.send((b"https", host, server.port, b"/"))
            assert not caught.value.request_sent
            assert all(peer.received == b"" for peer in server.peers)
            assert await client.get(plain.url(b"/next")) == b"/next"
            return str(caught.value)


@row("TLS-01", "TLS-10")
def test_an_unknown_issuer(colour: Colour) -> None:
    assert "not accepted" in colour.run(_refused, colour, server_context(ca=trustme.CA()))
    assert "not accepted" in colour.run(lambda: _refused(colour, server_context(), ssl_context=None))


@row("TLS-03", "TLS-07")
def test_a_wrong_name(colour: Colour) -> None:
    assert "mismatch" in colour.run(_refused, colour, server_context("example.org"))
    assert "mismatch" in colour.run(_refused, colour, server_context("127.0.0.1"), b"localhost")


@row("TLS-04", "TLS-07", "TLS-08")
def test_the_right_name_among_many(colour: Colour) -> None:
    async def main() -> None:
        names = [f"host{i}.example" for i in range(50)]
        seen: list[str | None] = []
        context = server_context("localhost", *names, "127.0.0.1")
        context.sni_callback = lambda sock, name, ctx: seen.append(name)
        with Server(serve, context=context) as server:
            resolver = {"localhost": ["127.0.0.1"], "localhost.": ["127.0.0.1"]}
            async with colour.client(
                ssl_context=client_context(), resolver=lambda host, port: resolver[host]
            ) as client:
                for host in (b"localhost", b"localhost.", b"127.0.0.1"):
                    assert await client.get((b"https", host, server.port, b"/a")) == b"/a"
        # RFC 6066 §3: no last dot, and no server name for an address.
        assert seen == ["localhost", "localhost", None]

    colour.run(main)


@row("TLS-02")
def test_a_certificate_of_another_day(colour: Colour) -> None:
    authority = Authority()
    trusting = authority.client_context()
    yesterday = authority.server_context(addresses=["127.0.0.1"], begins=-2 * DAY, ends=-DAY)
    assert "expired" in colour.run(lambda: _refused(colour, yesterday, ssl_context=trusting))
    tomorrow = authority.server_context(addresses=["127.0.0.1"], begins=DAY, ends=2 * DAY)
    assert "not yet valid" in colour.run(lambda: _refused(colour, tomorrow, ssl_context=trusting))


AUTHORITY = Authority()

CONSTRAINED = Authority(permitted="good.example")

NAMES: dict[str, list[tuple[Authority, dict[str, list[str] | str], dict[bytes, bool]]]] = {
    "TLS-06": [
        (AUTHORITY, {"names": ["a.example\0.b.example"]}, {b"a.example": False, b"b.example": False}),
        (AUTHORITY, {"names": ["b.example"], "subject": "a.example\0b"}, {b"a.example": False}),
    ],
    "TLS-07": [
        (AUTHORITY, {"names": ["127.0.0.1", "::1"]}, {b"127.0.0.1": False}),
        (AUTHORITY, {"subject": "127.0.0.1"}, {b"127.0.0.1": False}),
        (AUTHORITY, {"addresses": ["127.0.0.2", "::1"]}, {b"127.0.0.1": False, b"::1": True}),
    ],
    "TLS-08": [(AUTHORITY, {"names": ["a.example"]}, {b"a.example.": True})],
    "TLS-09": [
        (
            AUTHORITY,
            {"names": ["*.a.example", "b*.example", "*.*.c.example", "xn--bcher-kva.example"]},
            {
                b"x.a.example": True,
                b"X.A.Example": True,
                b"a.example": False,
                b"x.y.a.example": False,
                b"bx.example": False,
                b"x.y.c.example": False,
                b"xn--bcher-kva.example": True,
            },
        ),
        (CONSTRAINED, {"names": ["x.good.example"]}, {b"x.good.example": True}),
        (CONSTRAINED, {"names": ["x.bad.example", "x.good.example"]}, {b"x.good.example": False}),
    ],
}


@row(*NAMES)
@pytest.mark.parametrize("row_id", NAMES)
def test_names(row_id: str, colour: Colour) -> None:
    async def main(authority: Authority, parts: dict[str, Any], hosts: dict[bytes, bool]) -> None:
        context = authority.server_context(**parts)
        options = {"ssl_context": authority.client_context(), "resolver": lambda host, port: ["127.0.0.1"]}
        for host, is_accepted in hosts.items():
            with Server(serve, context=context, address="::1" if host == b"::1" else "127.0.0.1") as server:
                async with colour.client(**options) as client:
                    url = (b"https", host, server.port, b"/a")
                    if is_accepted:
                        assert await client.get(url) == b"/a"
                        continue
                    with pytest.raises(httpcore.ConnectError, match="not accepted"):
                        await client.get(url)
                    assert server.peers[0].received == b""

    for authority, parts, hosts in NAMES[row_id]:
        colour.run(main, authority, parts, hosts)


@row("TLS-05", "TLS-10")
def test_a_name_in_the_subject_alone(colour: Colour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default context trusts what SSL_CERT_FILE names, and looks at alternative names only."""
    monkeypatch.setattr(contexts, "_default", None)
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY.write_certificate(tmp_path)))
    good = AUTHORITY.server_context(names=["localhost"])
    with Server(serve, context=good) as server:

        async def main() -> None:
            async with colour.client() as client:
                assert await client.get((b"https", b"localhost", server.port, b"/a")) == b"/a"

        colour.run(main)
    bad = AUTHORITY.server_context(subject="localhost")
    assert "mismatch" in colour.run(lambda: _refused(colour, bad, b"localhost", ssl_context=None))


@row("TLS-08")
def test_what_is_no_name_of_a_server(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(
                ssl_context=client_context(), resolver=lambda host, port: ["127.0.0.1"]
            ) as client:
                for host in (b"localhost..", b"."):
                    with pytest.raises(httpcore.LocalProtocolError):
                        await client.send((b"https", host, server.port, b"/"))
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("TLS-11")
def test_a_context_of_the_callers_is_used_as_it_is(colour: Colour) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def main() -> None:
        with Server(serve, context=server_context("example.org", ca=trustme.CA())) as server:
            async with colour.client(ssl_context=context) as client:
                assert await client.get(server.url(b"/a")) == b"/a"

    colour.run(main)
