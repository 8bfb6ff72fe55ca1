"""The phases of one exchange, gathered from its trace and drawn as a small waterfall of text."""

from __future__ import annotations

from time import monotonic

PHASES = {
    "pool.wait": "queue",
    "connection.lookup": "lookup",
    "connection.connect_tcp": "connect",
    "connection.connect_unix_socket": "connect",
    "socks.connect_tcp": "connect",
    "socks.setup_socks5_connection": "socks",
    "connection.start_tls": "tls",
    "proxy.start_tls": "inner tls",
    "socks.start_tls": "inner tls",
    "http11.send_request_headers": "send",
    "http11.send_request_body": "upload",
    "http11.receive_response_headers": "waiting",
    "http11.receive_response_body": "body",
    "http2.send_connection_init": "preface",
    "http2.receive_remote_settings": "settings",
    "http2.send_request_headers": "send",
    "http2.send_request_body": "upload",
    "http2.receive_response_headers": "waiting",
    "http2.receive_response_body": "body",
}
"""What a person calls the phases that a trace names."""

WIDTH = 40
"""Characters for the whole time."""


class Waterfall:
    """A trace hook; print it when the exchange is over."""

    def __init__(self) -> None:
        # That of the first phase: what was done before is none of the exchange's time.
        self._begin: float | None = None
        self._spans: dict[str, tuple[float, float]] = {}
        self.is_new_connection = False

    def __call__(self, name: str, info: dict[str, object]) -> None:
        phase = name.rpartition(".")[0]
        if self._begin is None:
            self._begin = monotonic()
        now = monotonic() - self._begin
        if phase in ("connection.connect_tcp", "connection.connect_unix_socket", "socks.connect_tcp"):
            self.is_new_connection = True
        if phase not in PHASES:
            return
        begin, _ = self._spans.get(phase, (now, now))
        self._spans[phase] = (begin, now)

    def __str__(self) -> str:
        end = max((end for _, end in self._spans.values()), default=0.0) or 1.0
        lines = []
        for phase, (begin, until) in self._spans.items():
            left = int(begin / end * WIDTH)
            size = max(1, round((until - begin) / end * WIDTH))
            bar = (" " * left + "█" * size)[:WIDTH].ljust(WIDTH)
            lines.append(f"  {PHASES[phase]:<9} {bar} {(until - begin) * 1000:8.2f} ms")
        return "\n".join(lines)
