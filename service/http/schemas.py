"""The types of HTTP requests and responses; requests with unknown fields are refused."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from auditor.plan import GENERATIONS
from auditor.policy import Status
from auditor.results import AuditResult
from auditor.workflows import WORKFLOWS
from service.storage.api_keys import SCOPES

__all__ = [
    "AuditPage",
    "AuditRequest",
    "AuditView",
    "CalibrationRequest",
    "ForecastQuestion",
    "ItemPage",
    "JobPage",
    "JobView",
    "KeyRequest",
    "KeyView",
    "LoopRequest",
    "NewKeyView",
    "Problem",
    "ReferencePage",
    "ReferenceRequest",
    "ReferenceView",
    "SearchQuestion",
    "SearchView",
    "SweepRequest",
]

_Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
_Label = Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")]
_JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
_Count = Annotated[int, Field(ge=0, le=10**9)]
_Positive = Annotated[int, Field(ge=1, le=10**9)]
_DEPTH = 32  # of a document
_MOST_NEIGHBOURS = 20_000  # of an answer
_Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Workflow = Annotated[str, Field(json_schema_extra={"enum": list(WORKFLOWS)}, max_length=100)]


def _checked(value: dict[str, Any]) -> dict[str, Any]:
    """Return the document if it is valid: no deep nesting, no nan or infinity, no lone surrogates."""
    left: list[tuple[Any, int]] = [(value, 0)]
    while left:
        found, depth = left.pop()
        if depth > _DEPTH:
            raise ValueError(f"the document is nested deeper than {_DEPTH} levels")
        if isinstance(found, dict):
            left += [(part, depth + 1) for part in (*found, *found.values())]
        elif isinstance(found, list):
            left += [(part, depth + 1) for part in found]
        elif isinstance(found, float) and not math.isfinite(found):
            raise ValueError(f"{found} is not a finite number")
        elif isinstance(found, str) and not found.isascii():
            found.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return value


_Document = Annotated[dict[str, Any], AfterValidator(_checked)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)


class _PlanRequest(_Request):
    """The planned training; sizes that are None are set to the size of the audited set."""

    generations: Annotated[int, Field(ge=2, le=100)] = GENERATIONS
    n_initial: _Positive | None = Field(None, description="Number of items in the first training set.")
    n_real: _Count | None = Field(None, description="Number of real items in each later training set.")
    n_synthetic: _Count | None = Field(None, description="Number of synthetic items that each generation adds.")
    bias: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Sampling bias λ; 1 means no bias.")


class AuditRequest(_PlanRequest):
    """Request for an audit of a source against a reference."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "/data/crawl/shards/{000..099}.tar",
                    "reference": "photos",
                    "workflow": "fresh",
                    "n_real": 500,
                    "n_synthetic": 1000,
                    "policy": {"synthetic_fraction": {"warn": 0.05, "fail": 0.2}},
                }
            ]
        }
    )
    source: _Text = Field(description="Path, pattern or URL under an allowed root.")
    reference: _Name
    workflow: _Workflow | None = Field(None, description="Planned training workflow, which the MAD risk depends on.")
    policy: _Document = Field({}, description="Policy, with the same fields as a YAML policy file.")
    declare: list[Literal["reference-complete", "generators-complete"]] = Field([], max_length=2)
    limit: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="Largest number of items to audit, drawn at random."
    )
    level: Annotated[float, Field(ge=0.5, le=0.999)] = Field(0.95, description="Confidence level of all intervals.")
    column: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 256
    model_samples: _Text | None = Field(
        None, description="Source with samples of your model after training on the data."
    )
    pilot: _Text | None = Field(None, description="Source with samples of your second-generation model.")
    simulate_forecast: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="Model family for an additional simulation of the training loop."
    )
    seed: _Seed = 0

    @model_validator(mode="after")
    def _check(self) -> "AuditRequest":
        if self.workflow is None and (self.model_samples or self.pilot or self.simulate_forecast):
            raise ValueError("samples or a simulation were given without a workflow, which the risk depends on")
        if self.pilot and not self.model_samples:
            raise ValueError(
                "samples of a pilot model were given without samples of the first model: give model_samples too"
            )
        if self.workflow is None and any(n is not None for n in (self.n_initial, self.n_real, self.n_synthetic)):
            raise ValueError("training set sizes were given without a workflow: name the workflow")
        return self


class _LabelledSource(_Request):
    label: _Label
    source: _Text


class ReferenceRequest(_Request):
    """Request to build a reference."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "photos",
                    "real": [{"label": "real", "source": "/data/photos"}],
                    "synthetic": [{"label": "sdxl", "source": "/data/sdxl"}],
                    "encoder": "forensic",
                }
            ]
        }
    )
    name: _Name
    real: _Text | _LabelledSource | list[_Text | _LabelledSource] = Field(
        description="One trusted source of real items, or a list of sources, each with an optional label."
    )
    synthetic: list[_LabelledSource] = Field([], max_length=100)
    encoder: _Text
    semantic_encoder: _Text | None = None
    simulate: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=10)
    column: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 256
    match_storage: bool = False
    seed: _Seed = 0

    @model_validator(mode="after")
    def _check(self) -> "ReferenceRequest":
        given = self.real if isinstance(self.real, list) else [self.real]
        if not 1 <= len(given) <= 100:
            raise ValueError(f"{len(given)} real sources were given, expected 1 to 100")
        self.real = [_LabelledSource(label="real", source=one) if isinstance(one, str) else one for one in given]
        return self


class ForecastQuestion(_PlanRequest):
    """Request for a forecast from a finished audit, or from given figures."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"workflow": "fresh", "generations": 8, "synthetic_fraction": 0.2, "n_initial": 1000, "n_real": 500},
                {"audit": "0123456789abcdef0123456789abcdef", "workflow": "augment"},
            ]
        }
    )
    workflow: _Workflow
    audit: _JobId | None = Field(None, description="Id of a finished audit.")
    synthetic_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    diversity_ratio: Annotated[float, Field(ge=0, le=100)] | None = None
    policy: _Document = {}
    model_samples: _Text | None = None
    pilot: _Text | None = None
    risk_model: _JobId | None = Field(
        None, description="Id of a finished calibration job. The default is the shipped risk model."
    )
    simulate_forecast: Annotated[str, Field(max_length=100)] | None = None
    seed: _Seed = 0

    @model_validator(mode="after")
    def _check(self) -> "ForecastQuestion":
        figures = self.synthetic_fraction is not None and self.n_initial is not None
        if self.audit is None and (not figures or self.model_samples or self.pilot or self.simulate_forecast):
            raise ValueError(
                "expected either an audit, or synthetic_fraction and n_initial; samples and a simulation need an audit"
            )
        return self


class SearchQuestion(_Request):
    """Request for the reference items that are nearest to given vectors, to an image, or to a text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reference": "clip", "vectors": [[0.1, 0.2]], "k": 3}]})
    reference: _Name
    vectors: list[Annotated[list[float], Field(min_length=1, max_length=65536, fail_fast=True)]] | None = Field(
        None, min_length=1, max_length=1024, fail_fast=True
    )
    image: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Content of an image file, encoded in base64."
    )
    text: Annotated[str, Field(min_length=1, max_length=10**6)] | None = None
    k: Annotated[int, Field(ge=1, le=1000)] = 10

    @model_validator(mode="after")
    def _check(self) -> "SearchQuestion":
        if sum(query is not None for query in (self.vectors, self.image, self.text)) != 1:
            raise ValueError("expected exactly one of vectors, image and text")
        if self.vectors is not None and len(self.vectors) * self.k > _MOST_NEIGHBOURS:
            raise ValueError(
                f"{len(self.vectors)} vectors with k = {self.k} are too many: expected at most {_MOST_NEIGHBOURS} "
                "neighbours in total"
            )
        return self


class LoopRequest(_Request):
    """Request to run a loop; its fields are those of `madaudit loop run`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"config": {"family": "gmm", "workflow": "replace", "generations": 3}}]}
    )
    config: _Document


class SweepRequest(_Request):
    """Request to run a sweep of loops, with the content of a file for `madaudit loop sweep`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"sweep": {"base": {"family": "gaussian", "generations": 3}, "grid": {"bias": [1.0, 0.8]}}}]
        }
    )
    sweep: _Document


class CalibrationRequest(_Request):
    """Request to fit a risk model to finished sweeps that ran with `observe: true`."""

    sweeps: list[_JobId] = Field(min_length=1, max_length=100)


class KeyRequest(_Request):
    """Request to create an API key."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x20-\x7e]+$")]
    scopes: list[Literal["read", "write", "admin"]] = Field(min_length=1, max_length=len(SCOPES))
    sees: Annotated[list[_KeyId], Field(max_length=1000)] | Literal["all"] = Field(
        [], description="Ids of other keys whose jobs the new key may see, or `all`; only with the scope read."
    )


class _Progress(BaseModel):
    done: int = Field(
        description="Number of finished shards, items, generations or loops, depending on the kind of job."
    )
    total: int = Field(description="Total number of shards, items, generations or loops; 0 if the total is not known.")


class _Job(BaseModel):
    id: str
    kind: Literal["audit", "reference", "loop", "sweep", "calibration"]
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    created: AwareDatetime
    started: AwareDatetime | None
    finished: AwareDatetime | None
    progress: _Progress
    request: dict[str, Any] = Field(description="The request as it was sent; lists and events leave out nested parts.")
    verdict: Status | None = Field(description="The verdict of a succeeded audit, else null.")
    error: str | None
    links: dict[str, str]


class JobView(_Job):
    """A job; `result` is filled only if this single job is requested and has succeeded."""

    result: dict[str, Any] | None = Field(description="The result of the job; null in lists and events.")


class AuditView(_Job):
    """A job that audits a source."""

    result: AuditResult | None = Field(description="The content of result.json; null in lists and events.")


class JobPage(BaseModel):
    """One page of jobs, newest first."""

    items: list[JobView]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


class AuditPage(BaseModel):
    """One page of audits, newest first, without their results."""

    items: list[AuditView]
    next_cursor: str | None


class ItemPage(BaseModel):
    """One page of items of an audited set, in the order of the shards."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class ReferenceView(BaseModel):
    """A finished reference and its main properties."""

    model_config = ConfigDict(extra="allow")
    name: str
    identity: str
    built: AwareDatetime
    items: dict[str, int]
    encoder: str
    semantic_encoder: str | None


class ReferencePage(BaseModel):
    """One page of references, sorted by name."""

    items: list[ReferenceView]
    next_cursor: str | None


class _Neighbour(BaseModel):
    id: str
    label: str
    origin: Literal["real", "synthetic"]
    distance: float


class SearchView(BaseModel):
    """The reference items nearest to each query, nearest first, by Euclidean distance of evidence vectors."""

    reference: str
    neighbours: list[list[_Neighbour]]


class KeyView(BaseModel):
    """An API key without its token."""

    id: str
    name: str
    scopes: list[str]
    sees: list[str] | Literal["all"] = Field(description="Ids of other keys whose jobs this key may see.")
    created: AwareDatetime
    revoked: AwareDatetime | None


class NewKeyView(BaseModel):
    """A new API key with its token, which is shown only in this response."""

    id: str
    name: str
    scopes: list[str]
    sees: list[str] | Literal["all"]
    token: str


class Problem(BaseModel):
    """An error in the problem+json format (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
