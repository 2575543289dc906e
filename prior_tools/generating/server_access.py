"""Addresses of servers, what lets us in, and whose certificates are trusted."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import ssl
import unicodedata
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import PriorError

AUTH_VARIABLE = "SCP_SERVER_AUTH"

# How a secret may come back in an address or in JSON.
_QUOTED = (
    lambda secret: urllib.parse.quote(secret, safe=""),
    urllib.parse.quote,
    urllib.parse.quote_plus,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
)
# A shorter password would be found in every other word of an answer.
_LEAST_HIDDEN = 4

_SCHEMES = ("bearer", "basic")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Authorization:
    """What lets us in; nothing of it is for display.

    Attributes:
        header: value of the HTTP header.
        secrets: all that must not be repeated, the longest first.
    """

    header: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def hide(self, text: str) -> str:
        """A server's answer without the secrets that it may repeat."""
        for secret in self.secrets:
            for form in {secret, *(quoted(secret) for quoted in _QUOTED)}:
                text = text.replace(form, "...")
        return text


def server_url(text: str) -> str:
    """An address such as "127.0.0.1:8188" or "https://host/path/" in its plain form.

    Raises PriorError if it is none, without repeating a password that it may hold.
    """
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in _PORTS and parts.hostname and parts.hostname.encode("idna")
        extra = parts.query or parts.fragment or parts.port == 0
        # What the protocol has no room for as it is.
        odd = not parts.path.isascii() or not url.isprintable() or " " in url
        odd = odd or parts.netloc.endswith(":")
    except ValueError:
        known, extra, odd = None, None, None
    if "@" in text:
        raise PriorError(
            f"--server {_without_secrets(text)!r} holds a user or a password, which every list of "
            f"processes shows; write 'basic USER:PASSWORD' into the variable {AUTH_VARIABLE} or "
            "into a file for --auth-file, and leave it out of the address"
        )
    if not known or extra or odd:
        raise PriorError(
            f"--server {_without_secrets(text)!r} is no address such as http://127.0.0.1:8188"
        )
    return url


def read_authorizations(path: Path | None, urls: Iterable[str]) -> dict[str, Authorization]:
    """What each server wants, for those of which it is known.

    path: a file with a line "bearer TOKEN" or "basic USER:PASSWORD" for all servers, and lines
        that begin with the address of a server for that one; None takes the lines of the variable
        SCP_SERVER_AUTH, if it is set.
    urls: of `server_url`.

    Raises PriorError that says which line is wrong, but not what it holds.
    """
    if path is None:
        source, text = AUTH_VARIABLE, os.environ.get(AUTH_VARIABLE, "")
        if not text.strip():
            return {}
    else:
        source = f"--auth-file {path}"
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise PriorError(f"{source} is no text file in UTF-8") from None
    found: dict[tuple[str, str, int, str] | None, Authorization] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            where, authorization = _authorization(line.strip(), f"line {number} of {source}")
            if where in found:
                raise PriorError(f"line {number} of {source} is the second for the same servers")
            found[where] = authorization
    if not found:
        raise PriorError(f"{source} holds no line such as 'bearer TOKEN'")
    wanted = {url: found.get(_place(url)) or found.get(None) for url in urls}
    fitting = {url: authorization for url, authorization in wanted.items() if authorization}
    if not fitting:
        raise PriorError(
            f"no line of {source} is for a server that --server names: an address in a line has to "
            "be that of the server, and 'bearer TOKEN' or 'basic USER:PASSWORD' alone is for all"
        )
    return fitting


def distinct_servers(texts: Iterable[str]) -> list[str]:
    """The `server_url` of each server once, in whatever ways its address is written."""
    found: dict[tuple[str, str, int, str], str] = {}
    for url in map(server_url, texts):
        found.setdefault(_place(url), url)
    return list(found.values())


def is_overheard(url: str) -> bool:
    """Whether what goes to this address can be read on the way."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def trusting(ca_file: Path) -> ssl.SSLContext:
    """The system's trust, and that in the certificates of a PEM file.

    Raises PriorError if it holds none.
    """
    context = ssl.create_default_context()
    # From Python 3.13 on, what `openssl req -x509` writes would be refused for want of a key usage.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        # Its comments may be in any encoding.
        text = ca_file.read_bytes().decode("ascii", errors="ignore")
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise PriorError(
            f"--ca-file {ca_file} holds no certificates in PEM, which begin with "
            "'-----BEGIN CERTIFICATE-----'"
        ) from error
    return context


def _authorization(line: str, where: str) -> tuple[tuple[str, str, int, str] | None, Authorization]:
    """A line as the place of a server, None for all, and what it wants."""
    place = None
    first, rest = _split(line)
    if first.lower() not in _SCHEMES:
        try:
            place = _place(server_url(first))
        except PriorError:
            rest = ""
        first, rest = _split(rest)
    scheme, secret = first.lower(), rest
    basic = scheme == "basic"
    fits = ":" in secret if basic else secret.isascii() and " " not in secret
    if scheme not in _SCHEMES or not secret or not fits or not secret.isprintable():
        raise PriorError(
            f"{where} is no authorization; expected 'bearer TOKEN' or 'basic USER:PASSWORD', with "
            "the address of a server before it if it is for that one only"
        )
    if not basic:
        return place, Authorization(f"Bearer {secret}", (secret,))
    encoded = base64.b64encode(secret.encode()).decode()
    secrets = (encoded, secret, secret.partition(":")[2])
    hidden = tuple(s for s in secrets if len(s) >= _LEAST_HIDDEN)
    return place, Authorization(f"Basic {encoded}", hidden)


def _split(text: str) -> tuple[str, str]:
    """The first word, and the rest."""
    first, *rest = [*text.split(None, 1), ""]
    return first, rest[0] if rest else ""


def _place(url: str) -> tuple[str, str, int, str]:
    """By which two ways of writing an address are told to be of one server."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], parts.path


def _without_secrets(text: str) -> str:
    """An address without what may be a user, a password or a key."""
    before, at, host = text.rpartition("@")
    scheme, colon, _ = before.partition("://")
    start = scheme + colon if scheme in _PORTS else ""
    shown = re.split("[?#]", f"{start}...@{host}" if at else text)[0]
    scheme, colon, rest = shown.rpartition("://")
    place = unicodedata.normalize("NFKC", rest.partition("/")[0])
    # What stands where a port belongs may be a password; so may what stands before another @.
    port = re.sub(r"^(\.\.\.@)?(\[[^]]*\]|[^:]*)", "", place)
    if "@" in place.removeprefix("...@") or "%40" in place or not re.fullmatch(r"(:\d*)?", port):
        return f"{scheme}{colon}..."
    return shown
