"""Processes that were forked while connections were open, and while others held locks.

Each test is a program: the test's own process should not fork with pytest in it. In the child it does what
`child` says, and the parent then shows that nothing has happened to it.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ..colours import Colour
from ..peers.certificates import CA, server_context
from ..peers.http2 import HTTP2Peer, Stream, h2_context, http2
from ..peers.http2 import serve as serve_http2
from ..peers.scripted import Peer, Server, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

PROGRAM = """
import faulthandler, os, signal, socket, ssl, sys, threading, time, traceback, warnings
sys.path.insert(0, {root!r})
warnings.simplefilter("error")
# What asyncio says of a loop that a child abandons is its own, and so is what Python says of forks.
warnings.filterwarnings("ignore", "unclosed (event loop|transport)", ResourceWarning)
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
warnings.filterwarnings("ignore", "A response .* was never read", ResourceWarning)
from tests.colours import Colour
import httpcore
colour = Colour(sys.argv[1])
port = int(sys.argv[2])
scheme = sys.argv[3].encode()
def url(target):
    return (scheme, b"127.0.0.1", port, target)

def fork(function):
    '''The exit code of a child that runs `function`, and may not take long.'''
    child = os.fork()
    if not child:
        code = 1
        try:
            # Whoever waits for a lock in the child is never woken: only this ends that.
            faulthandler.dump_traceback_later(8, exit=True)
            # trio would take its parent's for another library's.
            signal.set_wakeup_fd(-1)
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def fork_in_a_thread(function):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(fork(function)))
    thread.start()
    thread.join()
    return codes[0]

"""


def run(
    colour: Colour, server: Server, program: str, *, cafile: Path | None = None, http2: bool = False
) -> None:
    scheme = "http" if cafile is None else "https"
    source = PROGRAM.format(root=str(Path(__file__).parents[2])) + textwrap.dedent(program)
    arguments = [colour.name, str(server.port), scheme, str(cafile or ""), *(["http2"] if http2 else [])]
    done = subprocess.run(
        [sys.executable, "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


CHILDREN = {
    "uses": """
        assert await client.get(url(b"/child")) == b"/child"
        assert await client.states() == idle
        await client.close()
    """,
    "closes": """
        await client.close()
    """,
    "drops": """
        import gc
        client = held = response = None
        gc.collect()
    """,
    "reads on": """
        try:
            await held.next()
        except httpcore.ReadError:
            pass
        else:
            raise AssertionError("the child read what is its parent's")
        await response.close()
        assert await client.get(url(b"/child")) == b"/child"
        await client.close()
    """,
}

MAIN = """
context = None
if sys.argv[4]:
    context = ssl.create_default_context(cafile=sys.argv[4])
http2 = sys.argv[5:] == ["http2"]
client = colour.client(max_connections=2, ssl_context=context, http2=http2)
idle = ["HTTP/2, IDLE, 0 streams"] if http2 else ["HTTP/1.1, IDLE"]

async def main():
    # One connection is idle, one is in the middle of a response.
    response = await client.send(url(b"/held"))
    held = response.reader()
    assert await held.next() == b"first"
    assert await client.get(url(b"/idle")) == b"/idle"

    async def in_child():
        global client
        nonlocal response, held
{child}
    assert {fork}(lambda: colour.run(in_child)) == 0

    # The parent is neither deaf nor mute.
    assert await client.get(url(b"/release")) == b"/release"
    assert await held.next() == b"second"
    assert await held.next() == b""
    assert await client.states() == idle * (1 if http2 else 2)
    await client.close()

colour.run(main)
"""


def program(colour: Colour, child: str) -> str:
    # The worst place for a fork is inside the loop; trio and anyio then refuse to run in the child at all.
    fork = "fork" if colour.name in ("sync", "asyncio", "uvloop") else "fork_in_a_thread"
    return MAIN.format(child=textwrap.indent(textwrap.dedent(CHILDREN[child]), " " * 8), fork=fork)


def hold_the_first_response(peer: Peer) -> None:
    """One response waits in its middle until another request releases it."""
    while head := peer.recv_head():
        target = head.split(b" ")[1]
        if target == b"/held":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")
            peer.server.hold()
            peer.send(b"second")
        else:
            if target == b"/release":
                peer.server.release.set()
            peer.answer(target)


@row("FRK-01", "FRK-03")
@pytest.mark.parametrize(
    ("child", "scheme"),
    [("uses", "http"), ("closes", "http"), *((child, "https") for child in CHILDREN)],
)
def test_a_child_leaves_its_parents_connections_alone(
    colour: Colour, tmp_path: Path, child: str, scheme: str
) -> None:
    cafile: Path | None = None
    if scheme == "https":
        cafile = tmp_path / "authority.pem"
        CA.cert_pem.write_to_path(str(cafile))
    with Server(hold_the_first_response, context=server_context() if cafile else None) as server:
        run(colour, server, program(colour, child), cafile=cafile)
        # Nothing of the child's came in on the parent's connections.
        assert [head.split(b" ")[1] for head in heads(server.peers[0])] == [b"/held"]
        assert [head.split(b" ")[1] for head in heads(server.peers[1])] == [b"/idle", b"/release"]
        assert server.accepted == (3 if child in ("uses", "reads on") else 2)


def hold_the_first_stream(peer: HTTP2Peer) -> None:
    """The same on HTTP/2, where both travel on one connection."""
    held: list[Stream] = []

    def answer(peer: HTTP2Peer, stream: Stream) -> None:
        if stream.path == b"/held":
            held.append(stream)
            peer.headers(stream, [(b":status", b"200")])
            peer.data(stream, b"first")
            return
        if stream.path == b"/release":
            peer.data(held[0], b"second", ends=True)
        peer.answer(stream, stream.path)

    peer.serve(answer)


@row("FRK-01", "FRK-03")
@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_leaves_its_parents_streams_alone(colour: Colour, tmp_path: Path, child: str) -> None:
    cafile = tmp_path / "authority.pem"
    CA.cert_pem.write_to_path(str(cafile))
    # The peer watches what it hears: a frame too many or a record out of order fails the test.
    with Server(http2(hold_the_first_stream), context=h2_context()) as server:
        run(colour, server, program(colour, child), cafile=cafile, http2=True)
        assert server.accepted == (2 if child in ("uses", "reads on") else 1)


HELD_LOCKS = """
import contextlib, httpcore._connections.contexts as contexts
context = ssl.create_default_context(cafile=sys.argv[4])
client = colour.client(http2=False, ssl_context=context, dns_ttl=60.0)
is_held = threading.Event()
is_over = threading.Event()

def hold(*locks):
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        is_held.set()
        is_over.wait()

def named(target):
    return (scheme, b"localhost", port, target)

async def main():
    assert await client.get(named(b"/parent")) == b"/parent"
    pool = client.pool._pool
    connector = pool.connector
    locks = (pool._lock, connector._addresses._lock, connector._sessions._lock, contexts._guard.lock)
    assert len(set(map(id, locks))) == 4
    holder = threading.Thread(target=hold, args=locks)
    holder.start()
    is_held.wait()

    async def in_child():
        assert await client.info() == {}
        assert client.pool.statistics()["connections"] == 0
        assert await client.get(named(b"/child")) == b"/child"
        contexts.default_context()
        await client.close()
    try:
        assert fork_in_a_thread(lambda: colour.run(in_child)) == 0
    finally:
        is_over.set()
        holder.join()
    assert await client.get(named(b"/parent")) == b"/parent"
    await client.close()

colour.run(main)
"""


@row("FRK-02")
def test_a_child_needs_no_lock_that_was_held(colour: Colour, tmp_path: Path) -> None:
    cafile = tmp_path / "authority.pem"
    CA.cert_pem.write_to_path(str(cafile))
    with Server(serve, context=server_context()) as server:
        run(colour, server, HELD_LOCKS, cafile=cafile)
        assert server.accepted == 2


HELD_CONNECTION = """
context = ssl.create_default_context(cafile=sys.argv[4])
client = colour.client(http2=True, ssl_context=context)
is_held = threading.Event()
is_over = threading.Event()

def hold(lock):
    with lock:
        is_held.set()
        is_over.wait()

async def main():
    response = await client.send(url(b"/parent"))
    place, = client.pool._pool.ledger.places
    holder = threading.Thread(target=hold, args=(place.connection._lock,))
    holder.start()
    is_held.wait()

    async def in_child():
        await response.close()
        assert await client.get(url(b"/child")) == b"/child"
        await client.close()
    try:
        assert fork_in_a_thread(lambda: colour.run(in_child)) == 0
    finally:
        is_over.set()
        holder.join()
    assert await response.read() == b"/parent"
    await client.close()

colour.run(main)
"""


@row("FRK-02")
def test_a_child_needs_no_lock_of_a_connection(colour: Colour, tmp_path: Path) -> None:
    cafile = tmp_path / "authority.pem"
    CA.cert_pem.write_to_path(str(cafile))
    with Server(http2(serve_http2), context=h2_context()) as server:
        run(colour, server, HELD_CONNECTION, cafile=cafile, http2=True)
        assert server.accepted == 2


LOOKUP = """
parent = os.getpid()
asked = threading.Event()
answered = threading.Event()
real = socket.getaddrinfo

def getaddrinfo(host, port, *rest):
    if os.getpid() == parent:
        asked.set()
        answered.wait()
    return real("127.0.0.1", port, *rest)
socket.getaddrinfo = getaddrinfo
client = colour.client(max_connections=1)

async def main():
    async def ask():
        assert await client.get((b"http", b"name.test", port, b"/parent")) == b"/parent"

    async def in_child():
        # Neither the parent's lookup nor its one slot are waited for.
        assert await client.get((b"http", b"name.test", port, b"/child")) == b"/child"
        await client.close()

    def fork_meanwhile():
        asked.wait()
        try:
            codes.append(fork(lambda: colour.run(in_child)))
        finally:
            answered.set()

    codes = []
    thread = threading.Thread(target=fork_meanwhile)
    thread.start()
    await ask()
    thread.join()
    assert codes == [0]
    await client.close()

colour.run(main)
"""


@row("FRK-02")
def test_a_child_waits_for_no_lookup_of_its_parent(colour: Colour) -> None:
    with Server(serve) as server:
        run(colour, server, LOOKUP)
        assert server.accepted == 2


def heads(peer: Peer) -> list[bytes]:
    return peer.received.split(b"\r\n\r\n")[:-1]
