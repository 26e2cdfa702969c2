"""API keys: made once, stored hashed, with scopes, compared in constant time, revocable."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from indexes.errors import InputError
from service.database import Transactions, now

__all__ = ["SCOPES", "ApiKey", "Keys"]

SCOPES = ("read", "write", "admin")  # admin may all, and sees what others own
_TOKEN = re.compile(r"madaudit_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").hexdigest()  # compared with where there is no such key: an answer takes as long


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who is asking, and for what it may ask."""

    id: str
    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether the key has a scope; admin has all, and who may write may read."""
        return scope in self.scopes or "admin" in self.scopes or (scope == "read" and "write" in self.scopes)


class Keys:
    """The keys in the database. A token holds 256 random bits, so one round of SHA-256 hides it."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def create(self, name: str, scopes: Iterable[str]) -> tuple[ApiKey, str]:
        """A new key and its token, which is shown this once; raises InputError for a scope there is not."""
        asked = frozenset(scopes)
        if not asked or asked - set(SCOPES):
            raise InputError(
                f"the scopes are {', '.join(sorted(asked)) or 'none'}, expected some of {', '.join(SCOPES)}"
            )
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise InputError("the name of a key has 1 to 100 printable characters: give another")
        key, secret = ApiKey(secrets.token_hex(6), name, asked), secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, NULL)",
                [key.id, name, _digest(secret), ",".join(sorted(asked)), now()],
            )
        return key, f"madaudit_{key.id}_{secret}"

    def find(self, token: str) -> ApiKey | None:
        """The key of a token, None for one that is unknown, malformed or revoked."""
        parts = _TOKEN.fullmatch(token)
        identity, secret = parts.groups() if parts else ("", "")
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT name, digest, scopes FROM api_keys WHERE id = ? AND revoked IS NULL", [identity]
            ).fetchone()
        name, digest, scopes = row or ("", _NOBODY, "")
        if not hmac.compare_digest(_digest(secret), digest) or row is None:
            return None
        return ApiKey(identity, name, frozenset(scopes.split(",")))

    def listed(self) -> list[dict[str, Any]]:
        """All keys, without what could be used in their place."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT id, name, scopes, created, revoked FROM api_keys ORDER BY created, id"
            ).fetchall()
        return [
            {
                "id": identity, "name": name, "scopes": scopes.split(","), "created": created.isoformat() + "Z",
                "revoked": revoked and revoked.isoformat() + "Z",
            }
            for identity, name, scopes, created, revoked in rows
        ]  # fmt: skip

    def revoke(self, identity: str) -> None:
        """End a key at once and for good; raises InputError if there is none."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT 1 FROM api_keys WHERE id = ?", [identity]).fetchone()
            if found is None:
                raise InputError(f"no key has the id {identity!r}: see madaudit keys list")
            connection.execute("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", [now(), identity])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
