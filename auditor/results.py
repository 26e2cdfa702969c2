"""The result of an audit: what `audit` returns, and how result.json is written and read."""

import html
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.answers import (
    CONDITIONS,
    Confound,
    Diversity,
    Encoders,
    Fidelity,
    IndexUse,
    MadRisk,
    ReferenceSummary,
    Review,
    Run,
    SyntheticFraction,
    Timing,
    Unread,
)
from auditor.folder import AuditFolder
from auditor.policy import Check, Policy, Status
from auditor.records import read_record, record_document, record_schema
from auditor.statistics.intervals import Measure
from indexes.errors import ArtifactError
from indexes.store import write_atomic

__all__ = [
    "FORECAST_SCHEMA",
    "SCHEMA",
    "AuditResult",
    "ForecastResult",
    "forecast_schema",
    "in_words",
    "read_items",
    "read_result",
    "result_schema",
    "write_result",
]

SCHEMA: Literal["madaudit/result/2"] = "madaudit/result/2"
FORECAST_SCHEMA: Literal["madaudit/forecast/2"] = "madaudit/forecast/2"


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """The complete result of an audit."""

    schema: Literal["madaudit/result/2"] = SCHEMA
    version: str  # of madaudit
    created: datetime
    verdict: Status
    source: str  # absolute
    n_items: int  # items used
    skipped: Mapping[str, int]  # reason → entries
    unread: Unread
    synthetic_fraction: SyntheticFraction
    diversity: Diversity
    fidelity: Fidelity
    mad_risk: MadRisk
    checks: tuple[Check, ...]
    confounds: tuple[Confound, ...]
    formats: Mapping[str, int]  # how the items were stored
    traits: Mapping[str, Mapping[str, int]]
    reference: ReferenceSummary
    encoder: Encoders
    index: IndexUse
    policy: Policy  # in force: `required` is filled in
    run: Run
    timing: Timing
    review: Review | None = None  # None: no person has labelled items

    def to_dict(self) -> dict[str, Any]:
        """Content of result.json: only JSON types, with null for a missing number."""
        return record_document(self)

    @staticmethod
    def from_dict(document: Any, *, where: str = "the document") -> "AuditResult":
        """Read a document from `to_dict`; raises ArtifactError for another schema and for missing or invalid fields."""
        found = document.get("schema") if isinstance(document, Mapping) else None
        if found != SCHEMA:
            raise ArtifactError(f"{where} has the schema {found!r}, expected {SCHEMA!r}: run the audit again")
        return read_record(AuditResult, document, where=where)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the checks that decide the verdict."""
        return self.policy.required or ()

    def items(self) -> pa.Table:
        """One row for every used item: id, score, nearest generator, duplicates, and whether to keep it.

        Raises ArtifactError if the audit's folder no longer exists.
        """
        kept: pa.Table | None = self.__dict__.get("_table")
        return read_items(AuditFolder(Path(self.run.out))) if kept is None else kept

    def keep_items(self) -> "AuditResult":
        """Read the items into memory, so that the audit's folder may be deleted; returns the result itself."""
        self.__dict__["_table"] = self.items()
        return self

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The main results as a few lines of text."""
        yield f"{self.verdict.upper()}: {self.n_items} items used, {self.unread}"
        told = ""
        for check in self.checks:
            if check.name in self.required and check.status != "pass":
                told += check.reason
                yield f"  {check.status}: {check.name.replace('_', ' ')}, {check.reason}"
        fraction = self.synthetic_fraction
        yield f"  synthetic fraction  {in_words(fraction, told)}"
        if (self.run.declared or self.review) and fraction.assumes:
            yield f"    assuming that {'; '.join(fraction.assumes)}"
        if self.review:
            yield f"    from {self.review.labelled} labels of {self.review.drawn} items drawn"
        for name, condition in CONDITIONS.items():
            if fraction.under(name).is_known and not self.review:
                yield f"    if {condition}: {in_words(fraction.under(name))}"
        if self.unread.share.high > 0:
            yield f"  of the whole set    {in_words(fraction.of_the_whole_set)}"
        yield f"  diversity loss      {in_words(self.diversity.loss)}"
        yield f"  MAD risk            {_risk_in_words(self.mad_risk)}"

    def _repr_html_(self) -> str:
        """HTML with the verdict and three result cards, for notebooks."""
        colour = {"pass": "#1e7e4e", "warn": "#a86a00", "fail": "#b03024"}.get(self.verdict, "#566573")
        answers = {
            "Synthetic fraction": in_words(self.synthetic_fraction),
            "Diversity loss": in_words(self.diversity.loss),
            "MAD risk": _risk_in_words(self.mad_risk),
        }
        cards = "".join(
            '<div style="border:1px solid #d5dbdf;border-radius:.4rem;padding:.6rem .8rem;flex:1 1 14rem">'
            f"{title}<br><b>{html.escape(text)}</b></div>"
            for title, text in answers.items()
        )
        reasons = "".join(
            f"<li>{html.escape(f'{c.name}: {c.reason}'.replace('_', ' '))}</li>"
            for c in self.checks
            if c.name in self.required and c.status != "pass"
        )
        return (
            f'<div><p style="background:{colour};color:#fff;padding:.5rem .8rem;border-radius:.4rem">'
            f"<b>{self.verdict.upper()}</b> · {self.n_items} items of {html.escape(self.source)}, "
            f"{html.escape(str(self.unread))}</p>"
            f'<div style="display:flex;flex-wrap:wrap;gap:.6rem">{cards}</div><ul>{reasons}</ul></div>'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastResult(MadRisk):
    """A stored forecast, which has the same fields as `mad_risk` in the result of an audit."""

    schema: Literal["madaudit/forecast/2"] = FORECAST_SCHEMA

    @staticmethod
    def of(risk: MadRisk) -> "ForecastResult":
        """A copy of the given forecast with the name of its JSON schema."""
        return ForecastResult(**{field.name: getattr(risk, field.name) for field in fields(MadRisk)})

    def to_dict(self) -> dict[str, Any]:
        """The forecast as a JSON document."""
        return record_document(self)

    @staticmethod
    def from_dict(document: Any) -> "ForecastResult":
        """Read a forecast from `to_dict`; raises ArtifactError for any other document."""
        return read_record(ForecastResult, document, where="the forecast")


def result_schema() -> dict[str, Any]:
    """The JSON Schema of result.json."""
    return record_schema(AuditResult, name=SCHEMA)


def forecast_schema() -> dict[str, Any]:
    """The JSON Schema of a forecast."""
    return record_schema(ForecastResult, name=FORECAST_SCHEMA)


def read_items(folder: AuditFolder) -> pa.Table:
    """Table of the items of a finished audit, in the order of its shards; raises ArtifactError if no table exists."""
    return pa.concat_tables([pq.read_table(file) for file in folder.item_files()])


def read_result(folder: AuditFolder) -> AuditResult:
    """Read the result of a finished audit; raises ArtifactError if it is missing, damaged or of another version."""
    path = folder.result
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if not folder.state.is_dir():
            raise ArtifactError(
                f"{path} is missing: {folder.path} is not a folder written by madaudit audit --out"
            ) from None
        raise ArtifactError(f"{path} is missing because the audit is not finished: run the audit again") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}): run the audit again") from None
    return AuditResult.from_dict(document, where=str(path))


def write_result(folder: AuditFolder, result: AuditResult) -> None:
    """Write result.json; call this last, because the file marks all other files as complete."""
    text = json.dumps(result.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder.result, text.encode())


def in_words(answer: Measure, told: str = "") -> str:
    """Text of an estimate with its interval; without an estimate, the reason is added unless `told` contains it."""
    if math.isnan(answer.low):
        return f"not determined ({answer.reason})"
    interval = f"{answer.low:.3f} – {answer.high:.3f}"
    if not answer.is_known:
        return interval if answer.reason is None or answer.reason in told else f"{interval} ({answer.reason})"
    return f"{answer.estimate:.3f} ({interval})"


def _risk_in_words(risk: MadRisk) -> str:
    chance = risk.probability
    if not chance.is_known:
        return f"{risk.status}: {risk.reason}"
    stated = f"{chance.estimate:.3f} ({chance.low:.3f} – {chance.high:.3f}), knowing the {risk.tier}"
    return stated if risk.status == "determined" else f"{stated}; {risk.status}: {risk.reason}"
