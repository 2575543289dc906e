"""An HTTP or HTTPS server that answers as a test says, or passes on to a server behind it."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dev.local_server import LOCAL, LocalServer


@dataclass(frozen=True)
class Asked:
    """A request.

    path: with the query.
    headers: by name in small letters.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


# Status, headers and body.
Answer = tuple[int, dict[str, str], bytes]


class Gate(LocalServer):
    """Serves on a free port of this machine while the context is open.

    answer: to a request; called by several threads.
    tls: for HTTPS.
    asked: all requests so far.
    """

    def __init__(
        self, answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[Asked] = []
        server = _Server(self.asked, answer)
        if tls is not None:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        super().__init__(server)
        self._scheme = "http" if tls is None else "https"

    @property
    def url(self) -> str:
        """By the name that its certificate, if it has one, is to hold."""
        return f"{self._scheme}://localhost:{self._server.server_port}"


def passing_on(url: str, authorization: str | None = None) -> Callable[[Asked], Answer]:
    """Answers of the server at `url`, only for those who are authorized if there is a header."""

    def answer(asked: Asked) -> Answer:
        if authorization is not None and asked.headers.get("authorization") != authorization:
            return HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"}, b"who are you?"
        kept = {k: v for k, v in asked.headers.items() if k == "content-type"}
        data = asked.body if asked.method == "POST" else None
        request = urllib.request.Request(url + asked.path, data, kept, method=asked.method)
        try:
            with urllib.request.urlopen(request) as found:
                return found.status, {"Content-Type": found.headers["Content-Type"]}, found.read()
        except urllib.error.HTTPError as error:
            return error.code, {}, error.read()

    return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, asked: list[Asked], answer: Callable[[Asked], Answer]) -> None:
        super().__init__(LOCAL, _Handler)
        self.asked, self.answer = asked, answer

    def handle_error(self, *_: Any) -> None:
        """Whoever does not trust the certificate breaks off."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.asked.append(asked)
        status, more, answer = self.server.answer(asked)
        self.send_response(status)
        for name, value in {**more, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
