"""Settings from the environment; nothing else reads it."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

__all__ = ["Settings", "read_settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where madaudit keeps its references and its ledger."""

    home: Path

    @property
    def references(self) -> Path:
        return self.home / "references"

    @property
    def database(self) -> Path:
        return self.home / "madaudit.duckdb"


def read_settings(home: Path | None = None) -> Settings:
    """Settings with the home folder given, else of $MADAUDIT_HOME, else the platform's data folder."""
    named = home or os.environ.get("MADAUDIT_HOME") or platformdirs.user_data_path("madaudit")
    return Settings(Path(named).expanduser())
