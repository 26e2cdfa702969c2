"""API keys with scopes: they are stored as hashes, compared in constant time, and can be revoked."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from indexes.errors import InputError
from service.storage.database import Connection, Transactions, now

__all__ = ["SCOPES", "ApiKey", "Keys", "View"]

SCOPES = ("read", "write", "admin")  # admin includes all scopes and sees all jobs
View = Sequence[str] | Literal["all"]  # ids of other keys whose jobs a key may see
_TOKEN = re.compile(r"madaudit_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").hexdigest()  # compared with if no such key exists, so that the response takes as long


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key with its scopes and the keys whose jobs it may see."""

    id: str
    name: str
    scopes: frozenset[str]
    sees: View = ()

    @property
    def owners(self) -> tuple[str, ...] | None:
        """Ids of the keys whose jobs this key may see; None if this key may see all jobs."""
        return None if self.sees == "all" or self.may("admin") else (self.id, *self.sees)

    def sees_jobs_of(self, owner: str) -> bool:
        """Whether this key may see the jobs of the key with the id `owner`."""
        return self.owners is None or owner in self.owners

    def may(self, scope: str) -> bool:
        """Whether the key has a scope; admin includes all scopes, and write includes read."""
        return scope in self.scopes or "admin" in self.scopes or (scope == "read" and "write" in self.scopes)


class Keys:
    """The API keys in the database. A token has 256 random bits, so one round of SHA-256 is enough to protect it."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def create(self, name: str, scopes: Iterable[str], *, sees: View = ()) -> tuple[ApiKey, str]:
        """Create an API key and return the key with its token, which is not stored.

        `sees` holds the ids of other keys whose jobs the new key may see. Raises InputError for an unknown scope, for
        an unknown id, and for `sees` with any scope other than read.
        """
        asked = frozenset(scopes)
        if not asked or asked - set(SCOPES):
            raise InputError(
                f"the scopes are {', '.join(sorted(asked)) or 'none'}, expected some of {', '.join(SCOPES)}"
            )
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise InputError("the name of a key must have 1 to 100 printable characters: give another name")
        view = sees if isinstance(sees, str) else tuple(sorted(set(sees)))
        if view and asked != {"read"}:
            raise InputError(
                f"a key that sees the jobs of other keys must have only the scope read, not {', '.join(sorted(asked))}"
            )
        key, secret = ApiKey(secrets.token_hex(6), name, asked, view), secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            _check_known(connection, view)
            connection.execute(
                "INSERT INTO api_keys (id, name, digest, scopes, created, sees) VALUES (?, ?, ?, ?, ?, ?)",
                [key.id, name, _digest(secret), ",".join(sorted(asked)), now(), _written(view)],
            )
        return key, f"madaudit_{key.id}_{secret}"

    def find(self, token: str) -> ApiKey | None:
        """The API key of a token; None if the token is unknown, malformed or revoked."""
        parts = _TOKEN.fullmatch(token)
        identity, secret = parts.groups() if parts else ("", "")
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT name, digest, scopes, sees FROM api_keys WHERE id = ? AND revoked IS NULL", [identity]
            ).fetchone()
        name, digest, scopes, sees = row or ("", _NOBODY, "", None)
        if not hmac.compare_digest(_digest(secret), digest) or row is None:
            return None
        return ApiKey(identity, name, frozenset(scopes.split(",")), _read(sees))

    def listed(self) -> list[dict[str, Any]]:
        """All API keys, without their secrets."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT id, name, scopes, sees, created, revoked FROM api_keys ORDER BY created, id"
            ).fetchall()
        return [
            {
                "id": identity, "name": name, "scopes": scopes.split(","),
                "sees": view if (view := _read(sees)) == "all" else list(view), "created": created.isoformat() + "Z",
                "revoked": revoked and revoked.isoformat() + "Z",
            }
            for identity, name, scopes, sees, created, revoked in rows
        ]  # fmt: skip

    def revoke(self, identity: str) -> None:
        """Revoke an API key immediately and permanently; raises InputError if no key has this id."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT 1 FROM api_keys WHERE id = ?", [identity]).fetchone()
            if found is None:
                raise InputError(f"no key has the id {identity!r}: see madaudit keys list")
            connection.execute("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", [now(), identity])


def _check_known(connection: Connection, view: View) -> None:
    """Raise InputError for ids that no key has; the ids of revoked keys still count as known."""
    rows = connection.execute("SELECT id FROM api_keys").fetchall() if view != "all" else []
    unknown = [] if view == "all" else sorted(set(view) - {identity for (identity,) in rows})
    if unknown:
        named = ", ".join(repr(identity) for identity in unknown[:10])
        raise InputError(f"no key has the id {named}: see madaudit keys list")


def _written(view: View) -> str | None:
    return view if isinstance(view, str) else ",".join(view) or None


def _read(stored: str | None) -> View:
    if stored == "all":
        return "all"
    return tuple(stored.split(",")) if stored else ()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
