"""A running ComfyUI server, over its HTTP interface."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NoReturn

from .server_access import AUTH_VARIABLE, Authorization, server_url

# Under this key of its extra data a prompt says of which run and which job it is.
MARK = "scp_generate"

_TIMEOUT = 60.0
# A proxy in front of a server that is away.
_GATEWAY_ERRORS = (502, 503, 504)
_MOST_OF_AN_ERROR = 100_000


class ServerGone(Exception):
    """The server does not answer, or broke off: it may be back later."""


class ServerRefused(Exception):
    """The server answered with an error.

    status: the HTTP status. body: of the answer.
    """

    def __init__(self, what: str, status: int, body: str) -> None:
        self.status, self.body = status, body
        super().__init__(f"{what}: HTTP {status} {body[:500]}".strip())


class AccessDenied(ServerRefused):
    """The server does not let us in, or does not prove who it is."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text, status, "")
        self.args = (text,)


class ComfyClient:
    """A server at `url`. Every call raises ServerGone, ServerRefused or AccessDenied.

    authorization: goes along with every request, and is in no error's text.
    tls: whom to trust over https; default: whom the system trusts.
    """

    def __init__(
        self,
        url: str,
        authorization: Authorization | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises PriorError if the address is none."""
        self.url = server_url(url)
        self._authorization = authorization
        # Nothing but the servers that were named: no proxy from the environment, no redirects.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            _NoRedirects(),
            urllib.request.HTTPSHandler(context=tls),
        )
        # Without a client's id the server would not tell results that it had cached.
        self._client_id = uuid.uuid4().hex

    def object_info(self) -> dict[str, Any]:
        """All nodes that the server knows, by class."""
        path = "/object_info"
        with self._expected(path):
            classes: dict[str, Any] = {**self._json(path)}
            return classes

    def system_stats(self) -> dict[str, Any]:
        """What the server tells of itself and its devices."""
        path = "/system_stats"
        with self._expected(path):
            stats: dict[str, Any] = {**self._json(path)}
            return stats

    def versions(self) -> dict[str, str]:
        """Of ComfyUI and of what it runs on, by name; none that the server does not tell."""
        stats = self.system_stats()
        with self._expected("/system_stats"):
            system = stats["system"]
            names = {"comfyui_version": "ComfyUI", "pytorch_version": "its torch"}
            return {name: str(system[key]) for key, name in names.items() if system.get(key)}

    def queued(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The prompts that run and those that wait: their marks (or None) by prompt id."""
        path = "/queue"
        with self._expected(path):
            queue = self._json(path)
            running, waiting = queue["queue_running"], queue["queue_pending"]
            return {item[1]: _mark(item) for item in running}, {
                item[1]: _mark(item) for item in waiting
            }

    def succeeded(self, most: int) -> dict[str, Any]:
        """Of the last `most` prompts that ended, those that succeeded: marks by prompt id."""
        path = f"/history?max_items={most}"
        with self._expected(path):
            return {
                prompt_id: _mark(entry["prompt"])
                for prompt_id, entry in self._json(path).items()
                if (entry.get("status") or {}).get("status_str") == "success"
            }

    def result(self, prompt_id: str) -> dict[str, Any] | None:
        """The history entry of a prompt that has ended, or None."""
        path = f"/history/{prompt_id}"
        with self._expected(path):
            entry = self._json(path).get(prompt_id)
            # Later releases may list running prompts, which have no status yet.
            return entry if entry and entry.get("status") else None

    def submit(self, prompt: dict[str, Any], mark: dict[str, str]) -> str:
        """Queue a prompt; returns its id."""
        body = {"prompt": prompt, "client_id": self._client_id, "extra_data": {MARK: mark}}
        path = "/prompt"
        with self._expected(path):
            return str(self._json(path, body)["prompt_id"])

    def upload(self, name: str, data: bytes, subfolder: str) -> str:
        """Put a picture into a folder of the server's input; returns its name for LoadImage.

        The server keeps a file that is there with the same content, and gives another name if the
        content differs.
        """
        fields = {"type": "input", "subfolder": subfolder}
        body, content_type = _multipart(fields, name, data)
        path = "/upload/image"
        with self._expected(path):
            answer = self._parsed(path, self.request(path, body, content_type))
            return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

    def view(self, image: dict[str, Any]) -> bytes:
        """The file of an image, as a history entry names it; the name goes to the server only."""
        query = {key: str(image.get(key, "")) for key in ("filename", "subfolder", "type")}
        return self.request("/view?" + urllib.parse.urlencode(query))

    def cancel(self, prompt_ids: list[str]) -> None:
        """Take prompts out of the queue, and stop the one that runs if it is of them."""
        self.request("/queue", json.dumps({"delete": prompt_ids}).encode(), "application/json")
        running, _ = self.queued()
        for prompt_id in running.keys() & set(prompt_ids):
            body = json.dumps({"prompt_id": prompt_id}).encode()
            self.request("/interrupt", body, "application/json")

    def request(self, path: str, body: bytes | None = None, content_type: str = "") -> bytes:
        """The answer to a GET, or to a POST of `body`."""
        request = urllib.request.Request(self.url + path, data=body)
        if body is not None:
            request.add_header("Content-Type", content_type)
        if self._authorization is not None:
            request.add_unredirected_header("Authorization", self._authorization.header)
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            raise self._refusal(path.partition("?")[0], error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise AccessDenied(
                    f"{self.url}: its TLS certificate is not trusted ({reason.verify_message}); "
                    "if it should be, give it or that of its authority as --ca-file"
                ) from error
            raise ServerGone(f"{self.url}: {self._hide(_silence(self.url, reason))}") from error

    def _refusal(self, path: str, error: urllib.error.HTTPError) -> Exception:
        """What an HTTP error means."""
        code = error.code
        if code in _GATEWAY_ERRORS:
            return ServerGone(f"{self.url}: HTTP {code}, so a proxy answers without the server")
        if code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if self._authorization is None:
                said = f"without an authorization; give one by {AUTH_VARIABLE} or --auth-file"
            else:
                said = f"with the authorization of {AUTH_VARIABLE} or --auth-file"
            return AccessDenied(f"{self.url}: HTTP {code}: it does not let us in {said}", code)
        text = _text(error)
        if 300 <= code < 400:
            text = f"sends on to {error.headers.get('Location', 'nowhere')}, which is not followed"
        return ServerRefused(f"{self.url}{path}", code, self._hide(text))

    def _hide(self, text: str) -> str:
        return text if self._authorization is None else self._authorization.hide(text)

    def _json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return self._parsed(path, self.request(path, data, "application/json"))

    def _parsed(self, path: str, answer: bytes) -> Any:
        with self._expected(path):
            return json.loads(answer)

    @contextmanager
    def _expected(self, path: str) -> Iterator[None]:
        """An answer of another shape is an error of the server's."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"{self.url}{path.partition('?')[0]}"
            raise ServerRefused(what, HTTPStatus.OK, "is not ComfyUI's answer") from error


def _silence(url: str, reason: Any) -> str:
    """Why there is no answer."""
    parts = urllib.parse.urlsplit(url)
    if isinstance(reason, socket.gaierror):
        return f"the name {parts.hostname} cannot be looked up ({reason.strerror})"
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused, so nothing listens there"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ssl.SSLError):
        return f"no TLS connection ({reason.reason or reason}); does it speak https there?"
    if isinstance(reason, (http.client.BadStatusLine, ConnectionError)):
        return f"it broke off, or does not speak {parts.scheme} there ({reason})"
    return str(reason)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A server must not send us to another one."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> NoReturn:
        raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)


def _text(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(_MOST_OF_AN_ERROR).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""


def _mark(item: list[Any]) -> Any:
    """The mark of a prompt in /queue or /history: [number, id, prompt, extra data, ...]."""
    return item[3].get(MARK) if len(item) > 3 and isinstance(item[3], dict) else None


def _multipart(fields: dict[str, str], name: str, data: bytes) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    body = b"".join([*parts, data, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"
