"""A node registry on this machine, spoken to over real HTTP and HTTPS.

It keeps what `comfy node publish` sends and gives it to `comfy node registry-install` and to
ComfyUI-Manager. These ask for the real registry's addresses, so the stub is also the proxy that
they are told to use: whatever host they name, the stub answers. It passes nothing on, and what it
does not know is answered with 404, so that no request leaves the machine.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from dev.local_server import LOCAL, LocalServer


@dataclass
class Publication:
    """What one `comfy node publish` sent.

    publisher: the publisher's id, from the address.
    node: all that the registry's page shows of the pack.
    version: {"version", "dependencies", "changelog", ...}.
    archive: the bytes of node.zip, empty until they are uploaded.
    """

    publisher: str
    node: dict[str, Any]
    version: dict[str, Any]
    archive: bytes = field(default=b"", repr=False)


class RegistryStub(LocalServer):
    """The registry, on a free local port while the context is open.

    folder: where the certificate authority's file goes.
    packs: by id, what was published last.
    environment: variables with which a program takes this for the registry, and for everything
        else outside of 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        self.packs: dict[str, Publication] = {}
        authority = trustme.CA()
        certificate = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(certificate)
        super().__init__(_Server(self, authority))
        proxies = {"http_proxy": self.address, "https_proxy": self.address, "no_proxy": LOCAL[0]}
        self.environment = {
            **proxies,
            # Some programs read these names in capitals.
            **{name.upper(): value for name, value in proxies.items()},
            "REQUESTS_CA_BUNDLE": str(certificate),
            "SSL_CERT_FILE": str(certificate),
            # Has comfy-cli ask a registry on this machine, without encryption.
            "ENVIRONMENT": "dev",
        }

    def get(self, path: str, query: dict[str, list[str]]) -> dict[str, Any] | bytes | None:
        """The answer to a GET; None for 404."""
        parts = path.strip("/").split("/")
        if parts == ["nodes"]:
            nodes = [self._node(pack_id) for pack_id in self.packs]
            return {"nodes": nodes, "total": len(nodes), "page": 1, "totalPages": 1}
        pack = self.packs.get(parts[1]) if len(parts) > 1 else None
        if pack is None:
            return None
        if parts[0] == "archives":
            return pack.archive
        if parts[2:] == ["install"]:
            wanted = query.get("version", [pack.version["version"]])
            return self._version(parts[1]) if wanted == [pack.version["version"]] else None
        return self._node(parts[1]) if parts == ["nodes", parts[1]] else None

    def publish(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a POST that announces a version; None for 404."""
        parts = path.strip("/").split("/")
        if len(parts) != 5 or (parts[0], parts[2], parts[4]) != ("publishers", "nodes", "versions"):
            return None
        publisher, pack_id = parts[1], parts[3]
        self.packs[pack_id] = Publication(publisher, body["node"], body["node_version"])
        return {"node_version": self._version(pack_id), "signedUrl": self._archive_url(pack_id)}

    def upload(self, path: str, archive: bytes) -> dict[str, Any] | None:
        """The answer to a PUT of an announced version's archive; None for 404."""
        folder, _, pack_id = path.strip("/").partition("/")
        if folder != "archives" or pack_id not in self.packs:
            return None
        self.packs[pack_id].archive = archive
        return {}

    def _node(self, pack_id: str) -> dict[str, Any]:
        pack = self.packs[pack_id]
        publisher = {"id": pack.publisher, "name": pack.publisher}
        return {**pack.node, "publisher": publisher, "latest_version": self._version(pack_id)}

    def _version(self, pack_id: str) -> dict[str, Any]:
        sent = self.packs[pack_id].version
        made = {"id": f"{pack_id}-1", "deprecated": False, "status": "NodeVersionStatusActive"}
        return {**made, **sent, "downloadUrl": self._archive_url(pack_id)}

    def _archive_url(self, pack_id: str) -> str:
        return f"{self.address}/archives/{pack_id}"


class _Server(ThreadingHTTPServer):
    def __init__(self, registry: RegistryStub, authority: trustme.CA) -> None:
        super().__init__(LOCAL, _Handler)
        self.registry = registry
        self.authority = authority


class _Handler(BaseHTTPRequestHandler):
    """Takes requests to the stub itself, to it as a proxy, and through tunnels."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_CONNECT(self) -> None:
        """Be the host that a tunnel is asked for; its requests follow on this connection."""
        host = self.path.rpartition(":")[0]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.authority.issue_cert(host).configure_cert(context)
        self.send_response(200)
        self.end_headers()
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self._answer(self.server.registry.get(address.path, parse_qs(address.query)))

    def do_POST(self) -> None:
        body = json.loads(self._body())
        self._answer(self.server.registry.publish(urlsplit(self.path).path, body), done=201)

    def do_PUT(self) -> None:
        self._answer(self.server.registry.upload(urlsplit(self.path).path, self._body()))

    def finish(self) -> None:
        # A client may leave at any moment, for instance when a download's head told it enough.
        try:
            super().finish()
        except OSError:
            pass
        finally:
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, answer: dict[str, Any] | bytes | None, done: int = 200) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer or {}).encode()
        self.send_response(404 if answer is None else done)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True
