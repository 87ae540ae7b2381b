"""Who may ask: rules that every request meets before its body is read.

A browser runs pages of strangers beside a server on the same machine. Three things tell such a page's request from a
client's: the header `Origin`, the header `Sec-Fetch-Site`, and, where the page's own name was pointed at this machine
(DNS rebinding), the header `Host`. No client of AWS sends the first two, and each sends the address it was given.

What is answered may be a stranger's page, too: an object of S3 has the content and the type that a job gave it, and is
at the address of the API. So a browser gets all but the server's own page as a document without rights.
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from local_test.page.site import BELOW, STRANGERS
from local_test.server.refusal import respond

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# names that always lead to this machine: `*.localhost` by RFC 6761, the others by Docker Desktop inside containers.
# Outside of these the network's name server answers for them, to a browser as well: programs alone may use them
_CONTAINERS_NAMES = ("host.docker.internal", "gateway.docker.internal")
_OWN_NAMES = ("localhost", *_CONTAINERS_NAMES)
_BROWSERS_HEADERS = ("HTTP_ORIGIN", "HTTP_ACCEPT_LANGUAGE")  # no client of AWS sends them
_OWN_SITES = (None, "same-origin", "none")
# what the page asks for by itself, and what a person opens; never a program for the page to run
_OWN_DESTINATIONS = (None, "empty", "document")
_RIGHTS = (("Content-Security-Policy", STRANGERS), ("X-Content-Type-Options", "nosniff"))


@dataclass(frozen=True)
class KnownHosts:
    """The names and addresses under which clients reach the server, besides the loopback ones.

    `any_address`: whether every IP address is one, for a server that listens at all of a machine's. An address can't be
    pointed anywhere else, as a name can.
    """

    names: frozenset[str] = frozenset()
    any_address: bool = False

    def include(self, host: str) -> bool:
        """Whether a `Host` header, with or without its port, is this server's."""
        name = _host_name(host)
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:  # below a name lie the buckets of virtual-hosted S3 addresses
            return _is_below(name, (*_OWN_NAMES, *self.names))
        return address.is_loopback or self.any_address or name in self.names


class AccessControl:
    """WSGI middleware in front of the whole application: refuses requests that no client of this server sends, takes
    every permission for pages of other origins (CORS) out of the answers, and the rights of this origin from whatever
    does not say itself what it may do.
    """

    def __init__(self, application: Wsgi, hosts: KnownHosts) -> None:
        self._application, self._hosts = application, hosts

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if reason := self._find_reason(environ):
            return respond(environ, start_response, reason)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            own = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
            names = {name.lower() for name, _ in own}
            own += [(name, value) for name, value in _RIGHTS if name.lower() not in names]
            return start_response(status, own, *rest)

        return self._application(environ, start)

    def _find_reason(self, environ: Environ) -> str | None:
        """Why the request is refused; None: it is not."""
        host = environ.get("HTTP_HOST")  # only a program that speaks HTTP/1.0 leaves it out, never a browser
        if host is not None and not self._hosts.include(host):
            return f"The header Host names another server. Received: {host[:200]!r}. Use the address that serve printed"
        if any(map(environ.get, _BROWSERS_HEADERS)) and _is_below(_host_name(host or "") or "", _CONTAINERS_NAMES):
            return f"This name is for programs in containers. Received: Host {host!r:.200}. In a browser use 127.0.0.1"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin != f"{environ['wsgi.url_scheme']}://{host}":
            return f"Pages of other origins have no access. Received: Origin {origin[:200]!r}"
        site = environ.get("HTTP_SEC_FETCH_SITE")
        if site not in _OWN_SITES:
            return f"Pages of other sites have no access. Received: Sec-Fetch-Site {site[:200]!r}"
        destination = environ.get("HTTP_SEC_FETCH_DEST")
        if destination not in _OWN_DESTINATIONS and not environ.get("PATH_INFO", "").startswith(BELOW):
            return f"A page gets no parts of itself here. Received: Sec-Fetch-Dest {destination[:200]!r}"
        return None


def _is_below(name: str, names: Iterable[str]) -> bool:
    """Whether it is one of the names or below one."""
    return any(name == one or name.endswith(f".{one}") for one in names)


def _host_name(host: str) -> str | None:
    """In small letters, without port and final dot; None if it is not a host's name."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
        return (parts.hostname or "").rstrip(".") or None
    except ValueError:
        return None
