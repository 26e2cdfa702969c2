"""Access control for the sources in HTTP requests: only allowed folders and URL prefixes can be read."""

import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import fsspec

from indexes.errors import InputError
from indexes.sources.files import guard_opening
from indexes.sources.listing import expand_braces

__all__ = ["AllowedRoots", "Forbidden", "confine"]

_WEB = ("http", "https")
_LONGEST = 4096  # characters of a source
_MOST_NAMES = 10_000  # largest number of names that brace patterns may expand to


class Forbidden(InputError):
    """The request names a source that the service must not open."""


@dataclass(frozen=True, slots=True)
class AllowedRoots:
    """Folders and URL prefixes below which the service may read every source."""

    folders: tuple[str, ...]  # with links resolved
    urls: tuple[str, ...]
    allow_private: bool = False  # whether hosts with private addresses are allowed

    @classmethod
    def of(cls, roots: Sequence[str], *, allow_private: bool = False) -> "AllowedRoots":
        """Build the allowed roots from settings; raises InputError if a root is neither an absolute path nor a URL."""
        folders, urls = [], []
        for root in roots:
            if "://" in root:
                urls.append(root.rstrip("/"))
            elif os.path.isabs(os.path.expanduser(root)):
                folders.append(os.path.realpath(os.path.expanduser(root)))
            else:
                raise InputError(f"the allowed root {root!r} is neither an absolute path nor a URL: give one of these")
        return cls(tuple(folders), tuple(urls), allow_private)

    def check(self, spec: str) -> str:
        """Return the source if every path or URL in it lies under an allowed root; otherwise raise Forbidden.

        Links are resolved and brace patterns are expanded before the check. Files that match a wildcard are checked
        when they are opened.
        """
        if len(spec) > _LONGEST or not spec.isprintable() or "::" in spec:
            raise Forbidden(
                f"{_shown(spec)} is not an allowed source: give a printable path or URL without '::', of at most "
                f"{_LONGEST} characters"
            )
        literal = (
            [spec] if os.path.lexists(spec) else []
        )  # an existing file of exactly this name is opened, braces included
        for name in [*literal, *expand_braces(spec, most=_MOST_NAMES)]:
            if "://" in name:
                self._check_url(name)
            else:
                self._check_path(name, spec)
        return spec

    def permits(self, address: str) -> bool:
        """Whether a path (with links already resolved) or a URL lies under an allowed root."""
        if "://" in address:
            return any(_under_url(address, root) for root in self.urls)
        return any(_lies_under(address, root) for root in self.folders)

    def _check_path(self, path: str, spec: str) -> None:
        if not os.path.isabs(path) or ".." in path.split("/"):
            raise Forbidden(f"{_shown(spec)} is not allowed: expected an absolute path without ..")
        if not self.permits(os.path.realpath(_plain_part(path))):
            raise Forbidden(f"{_shown(spec)} is outside the allowed roots: see MADAUDIT_ALLOWED_ROOTS")

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.username is not None or ".." in parts.path.split("/") or "%" in url or "\\" in url:
            raise Forbidden(f"{_shown(url)} is not allowed: expected a URL without credentials, .., % or backslashes")
        if parts.scheme not in _WEB and ("?" in url or "#" in url):
            raise Forbidden(f"{_shown(url)} is not allowed: only http and https URLs may contain ? or #")
        if not self.permits(url):
            raise Forbidden(f"{_shown(url)} is outside the allowed roots: see MADAUDIT_ALLOWED_ROOTS")
        if parts.scheme in _WEB and not self.allow_private:
            check_public(parts.hostname or "")


def check_public(host: str) -> None:
    """Raise Forbidden if a host name does not resolve, or resolves to a private address."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise Forbidden(f"the host {_shown(host)} cannot be resolved") from None
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_global for address in found):
        raise Forbidden(f"the host {_shown(host)} has a private address")


def confine(roots: AllowedRoots) -> None:
    """Restrict this process to sources under the allowed roots, even if a link or a redirect points elsewhere."""
    guard_opening(roots.permits)
    for scheme in _WEB:
        fsspec.config.conf[scheme] = {"get_client": _guarded_client(roots), "skip_instance_cache": True}


def _guarded_client(roots: AllowedRoots) -> Any:
    async def get_client(**options: Any) -> Any:
        import aiohttp

        class Refusing(
            aiohttp.ThreadedResolver
        ):  # the host is checked at every connection, because its address may change
            async def resolve(self, host: str, *arguments: Any, **named: Any) -> Any:
                if not roots.allow_private:
                    check_public(host)
                return await super().resolve(host, *arguments, **named)

        async def refuse_redirects(session: Any, context: Any, details: Any) -> None:
            raise aiohttp.ClientError(f"HTTP status {details.response.status}: redirects are not followed")

        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(refuse_redirects)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=Refusing()), trace_configs=[tracing], **options
        )

    return get_client


def _plain_part(path: str) -> str:
    """The folder before the first wildcard of a path, or the whole path if a file of exactly this name exists."""
    if os.path.lexists(path):
        return path
    parts = path.split("/")
    wild = next((i for i, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts))
    return "/".join(parts[:wild]) or "/"


def _lies_under(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _under_url(url: str, root: str) -> bool:
    """Whether a URL lies under a root URL, compared by scheme, host, port and whole path segments."""
    one, other = urlsplit(url), urlsplit(root)
    same = (one.scheme.lower(), one.netloc.lower()) == (other.scheme.lower(), other.netloc.lower())
    return same and (one.path == other.path or one.path.startswith(other.path.rstrip("/") + "/"))


def _shown(text: str) -> str:
    return repr(text[:200])
