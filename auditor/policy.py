"""Policy thresholds, checks of an audit's results against the thresholds, and the verdict."""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from auditor.event import Event
from auditor.records import Limit
from auditor.statistics.intervals import Measure
from indexes.errors import InputError

__all__ = [
    "QUANTITIES",
    "Check",
    "Policy",
    "Status",
    "Threshold",
    "check",
    "load_policy",
    "policy_of",
    "status_of",
    "verdict_of",
    "worse",
]

Status = Literal["pass", "undetermined", "warn", "fail"]
_ORDER: tuple[Status, ...] = ("pass", "warn", "undetermined", "fail")
_COMPARED = ("interval", "low", "estimate", "high")
QUANTITIES = ("synthetic_fraction", "diversity_loss", "mad_risk", "unread", "duplicates")


@dataclass(frozen=True, slots=True)
class Threshold:
    """Limits at which a quantity warns or fails, and what is compared with them: the interval or one of its numbers."""

    warn: Limit
    fail: Limit
    compare: str  # interval | low | estimate | high

    def __post_init__(self) -> None:
        if percent := [limit for limit in (self.warn, self.fail) if 1 < limit < math.inf]:
            raise InputError(f"policy: threshold {percent[0]} lies above 1, expected a share: write 5 % as 0.05")
        if self.compare not in _COMPARED:
            raise InputError(f"policy: compare is {_shown(self.compare)}, expected one of {', '.join(_COMPARED)}")
        if not self.warn <= self.fail:
            raise InputError(f"policy: warn {self.warn} lies above fail {self.fail}: swap the two limits")


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits for a dataset; by default, 5 % synthetic or 1 % unread items warn, 20 % synthetic or 10 % unread fail."""

    synthetic_fraction: Threshold = Threshold(0.05, 0.20, "interval")
    diversity_loss: Threshold = Threshold(0.10, 0.25, "interval")
    mad_risk: Threshold = Threshold(0.20, 0.50, "estimate")
    unread: Threshold = Threshold(0.01, 0.10, "estimate")  # share of what was offered that could not be read
    duplicates: Threshold = Threshold(0.05, 0.50, "interval")  # share of copies and near copies of other items
    required: tuple[str, ...] | None = None  # deciding checks; None: all that the encoder and the request can answer
    mad_event: Event = field(default_factory=Event)

    def requires(self, *, workflow: bool, content: bool) -> tuple[str, ...]:
        """Names of the checks that decide the verdict.

        By default `mad_risk` is required only if a workflow was named, `diversity_loss` only if an encoder sees
        content, and `duplicates` never.
        """
        if self.required is not None:
            return self.required
        asked = {"diversity_loss": content, "mad_risk": workflow, "duplicates": False}
        return tuple(name for name in QUANTITIES if asked.get(name, True))

    def in_force(self, *, workflow: bool, content: bool) -> "Policy":
        """The policy with the names of its required checks filled in."""
        return replace(self, required=self.requires(workflow=workflow, content=content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of comparing one quantity of an audit with its threshold."""

    name: str
    status: Status
    value: float | None  # the number that was compared
    threshold: Threshold
    reason: str


def load_policy(path: str | Path | None) -> Policy:
    """Read a policy from a YAML file; missing parts get default values, and unknown keys raise InputError."""
    if path is None:
        return Policy()
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: an impossible date
        raise InputError(f"cannot read the policy {path}: {error}") from None
    return policy_of(content, where=str(path))


def policy_of(content: Any, *, where: str = "policy") -> Policy:
    """Policy from a mapping, with defaults for missing parts; error messages call the mapping `where`."""
    if not isinstance(content, dict) or (unknown := set(content) - {*QUANTITIES, "required", "mad_event"}):
        found = ", ".join(sorted(map(str, unknown))) if isinstance(content, dict) else _shown(content)
        raise InputError(
            f"{where}: expected the keys {', '.join(QUANTITIES)}, mad_event and required, found {found:.200}"
        )
    default = Policy()
    fields: dict[str, Any] = {q: _threshold(q, content[q], getattr(default, q)) for q in QUANTITIES if q in content}
    if "mad_event" in content:
        fields["mad_event"] = _event(content["mad_event"])
    required = content.get("required")
    if required is None:
        return Policy(**fields)
    if not isinstance(required, list | tuple) or not all(name in QUANTITIES for name in required):
        raise InputError(f"{where}: required is {_shown(required)}, expected a list of {', '.join(QUANTITIES)}")
    return Policy(**fields, required=tuple(required))


def _shown(value: Any) -> str:
    """Shortened text of a value; YAML can repeat a small list so often that the full text would take gigabytes."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 60, 60
    return short.repr(value)


def _threshold(name: str, given: Any, default: Threshold) -> Threshold:
    if not isinstance(given, dict) or set(given) - {"warn", "fail", "compare"}:
        raise InputError(
            f"policy: {name} is {_shown(given)}, expected {{warn: …, fail: …, compare: interval|low|estimate|high}}"
        )
    merged = {**asdict(default), **given}
    if not all(isinstance(merged[k], int | float) and not isinstance(merged[k], bool) for k in ("warn", "fail")):
        raise InputError(f"policy: warn and fail of {name} must be numbers, found {_shown(given)}")
    return Threshold(**merged)


def _event(given: Any) -> Event:
    known = asdict(Event())
    if not isinstance(given, dict) or set(given) - set(known):
        raise InputError(
            f"policy: mad_event is {_shown(given)}, expected {{frechet_ratio: …, diversity_ratio: …, when: at|ever}}"
        )
    numbers = [given.get(name, known[name]) for name in ("frechet_ratio", "diversity_ratio")]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise InputError(f"policy: the ratios of mad_event must be numbers, found {_shown(given)}")
    return Event(**{**known, **given})


def check(
    name: str, threshold: Threshold, answer: Measure, *, reason: str | None = None, otherwise: Measure | None = None
) -> Check:
    """Compare a quantity with its threshold; undetermined if its number is missing or `reason` forbids the comparison.

    An interval fails if its estimate or its low end reaches `fail`, is undetermined if only its high end reaches
    `fail`, and warns if its high end reaches `warn`. If `answer` has no estimate, the estimate of `otherwise` is used,
    provided that the low end of `otherwise` reaches `warn`. Therefore an estimate from a few items, with an interval
    that begins at 0, never fails a check.
    """
    if threshold.compare == "interval" and math.isfinite(answer.high) and reason is None:
        return _check_interval(name, threshold, answer, otherwise)
    value = math.nan if reason is not None else float(getattr(answer, threshold.compare, math.nan))
    if not math.isfinite(value):
        why = reason or answer.reason or "the number is not available"
        return Check(name=name, status="undetermined", value=None, threshold=threshold, reason=why)
    status = status_of(threshold, value)
    why = f"{threshold.compare} {value:.4g} is {_where(threshold, status)}"
    return Check(name=name, status=status, value=value, threshold=threshold, reason=why)


def _check_interval(name: str, threshold: Threshold, answer: Measure, otherwise: Measure | None) -> Check:
    said, likely = "estimate", answer.estimate
    if not answer.is_known and otherwise is not None and otherwise.low >= threshold.warn:
        said, likely = "estimate, if the reference knows all sources and generators,", otherwise.estimate
    for what, value in ((said, likely), ("low end", answer.low)):
        if value >= threshold.fail:
            why = f"{what} {value:.4g} is at or above {threshold.fail}"
            return Check(name=name, status="fail", value=value, threshold=threshold, reason=why)
    status = status_of(threshold, answer.high)
    why = f"high end {answer.high:.4g} is {_where(threshold, status)}"
    if status == "fail":
        status = "undetermined"
        why += f": {answer.reason}" if not answer.is_known and answer.reason else ""
    return Check(name=name, status=status, value=answer.high, threshold=threshold, reason=why)


def _where(threshold: Threshold, status: Status) -> str:
    bound = {"fail": f"at or above {threshold.fail}", "warn": f"at or above {threshold.warn}"}
    return bound.get(status, f"below {threshold.warn}")


def status_of(threshold: Threshold, value: float) -> Status:
    """Status of one number compared with the limits of a threshold."""
    return "fail" if value >= threshold.fail else "warn" if value >= threshold.warn else "pass"


def worse(first: Status, second: Status) -> bool:
    """Whether the first status is worse than the second in the order pass, warn, undetermined, fail."""
    return _ORDER.index(first) > _ORDER.index(second)


def verdict_of(checks: Sequence[Check], required: Sequence[str]) -> Status:
    """The worst status among the required checks in the order pass, warn, undetermined, fail."""
    return max((c.status for c in checks if c.name in required), key=_ORDER.index, default="pass")
