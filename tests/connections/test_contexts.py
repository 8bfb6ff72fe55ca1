"""The default context, what a caller's context brings along, and what a resumed session saves."""

from __future__ import annotations

import gc
import shutil
import ssl
import subprocess
from pathlib import Path

import certifi
import pytest

import httpcore
from httpcore._connections import contexts

from ..colours import Colour
from ..peers.certificates import CA, client_context, server_context
from ..peers.scripted import Peer, Server, serve

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(autouse=True)
def _no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default context is built once for a process; each test begins before that."""
    monkeypatch.setattr(contexts, "_default", None)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    CA.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without a certificate."""
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (tmp_path / "empty.pem").write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(nothing))
    monkeypatch.setattr(contexts, "KNOWN_STORES", (str(tmp_path / "absent.pem"),))
    monkeypatch.setattr(contexts, "_certifi_store", lambda: None)


async def succeed(colour: Colour, **options: object) -> None:
    """A request to a server of `CA`'s, verified by what `options` say."""
    with Server(serve, context=server_context()) as server:
        async with colour.client(**options) as client:
            assert await client.get(server.url(b"/a")) == b"/a"


class TestDefaultContext:
    def test_a_file_of_the_environment(
        self, colour: Colour, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        colour.run(succeed, colour)

    def test_a_directory_of_the_environment(
        self,
        colour: Colour,
        empty_store: None,
        authority: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl, which makes such a directory, is not installed")
        directory = tmp_path / "certificates"
        directory.mkdir()
        name = ["openssl", "x509", "-noout", "-hash", "-in", str(authority)]
        hashed = subprocess.run(name, capture_output=True, text=True, check=True).stdout.strip()
        (directory / f"{hashed}.0").write_bytes(authority.read_bytes())
        monkeypatch.setenv("SSL_CERT_DIR", str(directory))
        colour.run(succeed, colour)

    def test_a_store_where_a_distribution_keeps_it(
        self, empty_store: None, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contexts, "KNOWN_STORES", ("/absent.pem", str(authority)))
        colour = Colour("sync")
        colour.run(succeed, colour)

    def test_certifi_where_there_is_nothing_else(
        self, empty_store: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        assert contexts._certifi_store() == certifi.where()

    def test_certifi_is_asked_last(
        self, empty_store: None, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contexts, "_certifi_store", lambda: str(authority))
        colour = Colour("sync")
        colour.run(succeed, colour)

    def test_no_store_at_all(self, colour: Colour, empty_store: None) -> None:
        async def main() -> None:
            with Server(serve, context=server_context()) as server:
                async with colour.client() as client:
                    with pytest.raises(httpcore.ConnectError, match="Set SSL_CERT_FILE or SSL_CERT_DIR"):
                        await client.send(server.url())
                    assert client.pool.statistics()["connections"] == 0

        colour.run(main)

    def test_it_verifies_and_is_built_once(self, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        context = contexts.default_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert contexts.default_context() is context

    @pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
    def test_an_old_version_is_refused(
        self, colour: Colour, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        old = server_context()
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")

        async def main() -> None:
            with Server(serve, context=old) as server:
                async with colour.client() as client:
                    with pytest.raises(httpcore.ConnectError):
                        await client.send(server.url())

        colour.run(main)

    def test_secrets_are_logged_for_who_asks(
        self, colour: Colour, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = tmp_path / "keys.log"
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        monkeypatch.setenv("SSLKEYLOGFILE", str(log))
        colour.run(succeed, colour)
        assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()
        # The log is open as long as the context is.
        contexts._default = None
        gc.collect()

    @pytest.mark.parametrize("what", ["log", "store"])
    def test_a_file_that_cannot_be_used(
        self, what: str, colour: Colour, empty_store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "unusable"
        if what == "log":
            path.mkdir()
            monkeypatch.setenv("SSLKEYLOGFILE", str(path))
        else:
            path.write_text("no certificate")
            monkeypatch.setattr(contexts, "KNOWN_STORES", (str(path),))

        async def main() -> None:
            with Server(serve, context=server_context()) as server:
                async with colour.client() as client:
                    with pytest.raises(httpcore.ConnectError, match="context cannot be made") as caught:
                        await client.send(server.url())
                    assert caught.value.request_sent is False
                    assert client.pool.statistics()["connections"] == 0

        colour.run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate(colour: Colour, version: ssl.TLSVersion) -> None:
    demanding = server_context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.minimum_version = demanding.maximum_version = version
    CA.configure_trust(demanding)
    known = client_context()
    CA.issue_cert("client@example.org").configure_cert(known)
    names: list[object] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        certificate = peer.sock.getpeercert()
        assert certificate is not None
        names.append(certificate["subjectAltName"])
        peer.serve()

    async def main() -> None:
        with Server(script, context=demanding) as server:
            async with colour.client(ssl_context=known) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
        assert names == [(("email", "client@example.org"),)]

    colour.run(main)


def test_a_callers_lists_of_protocols_stays(colour: Colour) -> None:
    """Only `http2` offers anything of ours; the list that a caller set is the caller's."""
    context = client_context()
    context.set_alpn_protocols(["acme-tls/1"])
    server_side = server_context()
    server_side.set_alpn_protocols(["acme-tls/1", "http/1.1"])
    chosen: list[str | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        chosen.append(peer.sock.selected_alpn_protocol())
        peer.serve()

    async def main() -> None:
        with Server(script, context=server_side) as server:
            async with colour.client(ssl_context=context) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
        assert chosen == ["acme-tls/1"]

    colour.run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_shows_on_the_wire(colour: Colour, version: ssl.TLSVersion) -> None:
    """The certificate and its proof are not sent again."""
    context = server_context()
    context.minimum_version = context.maximum_version = version
    sizes: list[int] = []

    def script(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        sent = 0

        def flush() -> None:
            nonlocal sent
            data = outgoing.read()
            sent += len(data)
            peer.send(data)

        def until_done(step: object, *arguments: object) -> bytes:
            while True:
                try:
                    return step(*arguments)  # type: ignore[operator,no-any-return]
                except ssl.SSLWantReadError:
                    flush()
                    incoming.write(peer.recv())
                finally:
                    flush()

        until_done(tls.do_handshake)
        sizes.append(sent)
        until_done(tls.read, 4096)
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        flush()
        peer.recv_to_end()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(ssl_context=client_context()) as client:
                for _ in range(2):
                    assert await client.get(server.url(scheme=b"https")) == b"ok"
        first, second = sizes
        assert second < first - 500

    colour.run(main)
