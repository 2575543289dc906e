"""A running ComfyUI server, over its HTTP interface."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from email.message import Message
from typing import Any, NoReturn

from ..errors import PriorError

# Under this key of its extra data a prompt says of which run and which job it is.
MARK = "scp_generate"

_TIMEOUT = 60.0
# A proxy in front of a server that is away.
_GATEWAY_ERRORS = (502, 503, 504)


class ServerGone(Exception):
    """The server does not answer, or broke off: it may be back later."""


class ServerRefused(Exception):
    """The server answered with an error.

    status: the HTTP status. body: of the answer.
    """

    def __init__(self, what: str, status: int, body: str) -> None:
        self.status, self.body = status, body
        super().__init__(f"{what}: HTTP {status} {body[:500]}".strip())


class ComfyClient:
    """A server at `url`. Every call raises ServerGone or ServerRefused."""

    def __init__(self, url: str) -> None:
        """Raises PriorError if the address is none."""
        self.url = server_url(url)
        # Without a client's id the server would not tell results that it had cached.
        self._client_id = uuid.uuid4().hex

    def object_info(self) -> dict[str, Any]:
        """All nodes that the server knows, by class."""
        classes: dict[str, Any] = self._json("/object_info")
        return classes

    def queued(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The prompts that run and those that wait: their marks (or None) by prompt id."""
        queue = self._json("/queue")
        running, waiting = queue["queue_running"], queue["queue_pending"]
        return {item[1]: _mark(item) for item in running}, {
            item[1]: _mark(item) for item in waiting
        }

    def succeeded(self, most: int) -> dict[str, Any]:
        """Of the last `most` prompts that ended, those that succeeded: marks by prompt id."""
        history = self._json(f"/history?max_items={most}")
        return {
            prompt_id: _mark(entry["prompt"])
            for prompt_id, entry in history.items()
            if (entry.get("status") or {}).get("status_str") == "success"
        }

    def result(self, prompt_id: str) -> dict[str, Any] | None:
        """The history entry of a prompt that has ended, or None."""
        entry = self._json(f"/history/{prompt_id}").get(prompt_id)
        # Later releases may list running prompts, which have no status yet.
        return entry if entry and entry.get("status") else None

    def submit(self, prompt: dict[str, Any], mark: dict[str, str]) -> str:
        """Queue a prompt; returns its id."""
        body = {"prompt": prompt, "client_id": self._client_id, "extra_data": {MARK: mark}}
        return str(self._json("/prompt", body)["prompt_id"])

    def upload(self, name: str, data: bytes, subfolder: str) -> str:
        """Put a picture into a folder of the server's input; returns its name for LoadImage.

        The server keeps a file that is there with the same content, and gives another name if the
        content differs.
        """
        fields = {"type": "input", "subfolder": subfolder}
        body, content_type = _multipart(fields, name, data)
        answer = self._parsed("/upload/image", self.request("/upload/image", body, content_type))
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
        headers = {"Content-Type": content_type} if body is not None else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        try:
            with _OPENER.open(request, timeout=_TIMEOUT) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            if error.code in _GATEWAY_ERRORS:
                raise ServerGone(f"{self.url}: HTTP {error.code}") from error
            what = f"{self.url}{path.partition('?')[0]}"
            raise ServerRefused(what, error.code, _text(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(f"{self.url}: {getattr(error, 'reason', error)}") from error

    def _json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return self._parsed(path, self.request(path, data, "application/json"))

    def _parsed(self, path: str, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except ValueError:
            raise ServerRefused(f"{self.url}{path}", 200, "is not ComfyUI's answer") from None


def server_url(text: str) -> str:
    """An address such as "127.0.0.1:8188" or "https://host/path/" in its plain form.

    Raises PriorError if it is none.
    """
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urllib.parse.urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        extra = parts.query or parts.fragment or (parts.port == 0)
    except ValueError:
        plain, extra = None, None
    if not plain or extra:
        raise PriorError(f"--server {text!r} is no address such as http://127.0.0.1:8188")
    return url


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A server must not send us to another one."""

    def redirect_request(self, req: Any, fp: Any, code: int, *_: Any) -> NoReturn:
        raise urllib.error.HTTPError(req.full_url, code, "redirect", Message(), fp)


# Nothing but the servers that were named: no proxy from the environment, no redirects.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())


def _text(error: urllib.error.HTTPError) -> str:
    try:
        return error.read().decode(errors="replace")
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
