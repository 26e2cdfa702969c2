"""Tests of submissions: what is refused before it waits in the queue, and what a waiting job holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexes.errors import InputError
from service.allowed_roots import Forbidden
from service.http.context import Context
from service.http.problems import ProblemError
from service.http.schemas import (
    AuditRequest,
    CalibrationRequest,
    ForecastQuestion,
    LoopRequest,
    ReferenceRequest,
    SweepRequest,
)
from service.http.submissions import (
    checked_forecast,
    submit_audit,
    submit_calibration,
    submit_loop,
    submit_reference,
)
from service.storage.api_keys import ApiKey
from service.storage.job_queue import Job, KeyReused, QueueFull

LOOP = LoopRequest(config={"family": "gaussian", "generations": 2})
SWEEP = SweepRequest(sweep={"base": {"family": "gaussian", "generations": 2}})


@pytest.fixture
def context(tmp_path: Path, start_service: Callable[..., Context]) -> Iterator[Context]:
    """A service whose workers were not started: jobs wait until a test ends them."""
    made = start_service(tmp_path / "home", queue_size=3)
    yield made
    made.database.close()


@pytest.fixture
def key(context: Context) -> ApiKey:
    return context.keys.create("writer", ["write"])[0]


@pytest.fixture
def data(built_home: tuple[Path, Path]) -> Path:
    """The allowed root."""
    return built_home[1]


def audit_of(data: Path, **fields: Any) -> AuditRequest:
    return AuditRequest(**{"source": f"{data}/incoming.npy", "reference": "vectors", **fields})


def reference_of(data: Path, name: str = "new", **fields: Any) -> ReferenceRequest:
    return ReferenceRequest(**{"name": name, "real": f"{data}/real.npy", "encoder": "embeddings", **fields})


def finished(context: Context, job: Job, state: str) -> Job:
    """The job, brought by the queue into a state; the only one that waits."""
    if state in ("running", "succeeded", "failed"):
        context.queue.claim()
    if state == "succeeded":
        context.queue.succeed(job.id, {})
    elif state == "failed":
        context.queue.fail(job.id, "a reason")
    elif state == "cancelled":
        context.queue.cancel(job.id)
    found = context.queue.get(job.id)
    assert found is not None
    assert found.state == state
    return found


def test_a_job_holds_what_was_asked_for_and_belongs_to_the_key(context: Context, key: ApiKey, data: Path) -> None:
    asked = {"workflow": "fresh", "n_real": 60, "limit": 100, "seed": 7, "policy": {"unread": {"warn": 0.5, "fail": 1}}}
    job = submit_audit(context, key, audit_of(data, **asked), idempotency=None)
    assert (job.kind, job.state, job.owner) == ("audit", "queued", key.id)
    assert dict(job.request).items() >= {"source": f"{data}/incoming.npy", "reference": "vectors", **asked}.items()


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"reference": "unknown"}, InputError, "no reference is called 'unknown'"),
        ({"source": "/etc/passwd"}, Forbidden, "is outside the allowed roots"),
        ({"policy": {"synthetic": {"warn": 0.1}}}, InputError, "found synthetic"),
        ({"policy": {"synthetic_fraction": {"warn": 5, "fail": 20}}}, InputError, "write 5 % as 0.05"),
        ({"workflow": "recycle"}, InputError, "recycle"),
        ({"workflow": "fresh", "simulate_forecast": "own.py:Own"}, InputError, "no family is called 'own.py:Own'"),
        ({"workflow": "fresh", "model_samples": "samples.npy"}, Forbidden, "expected an absolute path"),
    ],
)
def test_an_impossible_audit_is_refused_before_it_waits(
    context: Context, key: ApiKey, data: Path, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as refused:
        submit_audit(context, key, audit_of(data, **fields), idempotency=None)
    assert "\n" not in str(refused.value)
    assert context.queue.counts() == {}


def test_an_unknown_field_of_a_loop_is_refused_with_those_that_there_are(context: Context, key: ApiKey) -> None:
    with pytest.raises(InputError, match=r"a loop has no field generation, expected some of .*generations"):
        submit_loop(context, key, LoopRequest(config={"generation": 3}), idempotency=None)
    assert context.queue.counts() == {}


def test_real_data_named_by_a_path_alone_get_the_label_real(context: Context, key: ApiKey, data: Path) -> None:
    asked = reference_of(data, real=[f"{data}/real.npy", {"label": "scans", "source": f"{data}/incoming.npy"}])
    job = submit_reference(context, key, asked, idempotency=None)
    labelled = {given["label"]: given["source"] for given in job.request["real"]}
    assert labelled == {"real": f"{data}/real.npy", "scans": f"{data}/incoming.npy"}


@pytest.mark.parametrize("fields", [{"simulate": ["gaussian", "own.py:Own"]}, {"semantic_encoder": "nonsense"}])
def test_a_reference_of_an_unknown_family_or_encoder_leaves_its_name_free(
    context: Context, key: ApiKey, data: Path, fields: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"no (family|encoder) is called '(own.py:Own|nonsense)'"):
        submit_reference(context, key, reference_of(data, **fields), idempotency=None)
    assert submit_reference(context, key, reference_of(data), idempotency=None).state == "queued"


@pytest.mark.parametrize("state", ["queued", "running", "built"])
def test_the_name_of_a_reference_that_is_built_or_being_built_is_taken(
    context: Context, key: ApiKey, data: Path, state: str
) -> None:
    asked = reference_of(data, "vectors" if state == "built" else "new")
    if state != "built":
        finished(context, submit_reference(context, key, asked, idempotency=None), state)
    with pytest.raises(ProblemError, match=f"a reference called '{asked.name}' exists") as refused:
        submit_reference(context, key, asked, idempotency=None)
    assert refused.value.status == 409


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_name_is_free_again_once_its_reference_could_not_be_built(
    context: Context, key: ApiKey, data: Path, state: str
) -> None:
    first = finished(context, submit_reference(context, key, reference_of(data), idempotency=None), state)
    assert submit_reference(context, key, reference_of(data), idempotency=None).id != first.id


def test_a_build_repeated_with_its_idempotency_key_is_the_same_job(context: Context, key: ApiKey, data: Path) -> None:
    jobs = [submit_reference(context, key, reference_of(data), idempotency="once").id for _ in range(2)]
    assert jobs[0] == jobs[1]


def test_callers_who_choose_the_same_idempotency_key_have_a_job_each(context: Context, key: ApiKey) -> None:
    other = context.keys.create("other", ["write"])[0]
    jobs = [submit_loop(context, who, LOOP, idempotency="once") for who in (key, other)]
    assert [job.owner for job in jobs] == [key.id, other.id]
    assert jobs[0].id != jobs[1].id


def test_an_idempotency_key_of_a_loop_is_refused_for_a_sweep(context: Context, key: ApiKey) -> None:
    submit_loop(context, key, LOOP, idempotency="once")
    with pytest.raises(KeyReused, match="'once' was used for another request: send another key"):
        submit_loop(context, key, SWEEP, idempotency="once")


def test_a_bad_request_gets_its_reason_even_when_the_queue_is_full(context: Context, key: ApiKey) -> None:
    for _ in range(3):
        submit_loop(context, key, LOOP, idempotency=None)
    with pytest.raises(QueueFull):
        submit_loop(context, key, LOOP, idempotency=None)
    with pytest.raises(InputError, match="recycle"):
        submit_loop(context, key, LoopRequest(config={"workflow": "recycle"}), idempotency=None)


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled"])
def test_a_calibration_on_a_sweep_that_has_not_succeeded_is_refused(context: Context, key: ApiKey, state: str) -> None:
    sweep = finished(context, submit_loop(context, key, SWEEP, idempotency=None), state)
    with pytest.raises(ProblemError, match=f"the sweep {sweep.id} is {state}, expected succeeded") as refused:
        submit_calibration(context, key, CalibrationRequest(sweeps=[sweep.id]), idempotency=None)
    assert refused.value.status == 409


@pytest.mark.parametrize("which", ["of another kind", "of another key", "unknown"])
def test_a_calibration_does_not_tell_a_hidden_sweep_from_a_missing_one(
    context: Context, key: ApiKey, which: str
) -> None:
    other = context.keys.create("other", ["write"])[0]
    asked, owner = (LOOP, key) if which == "of another kind" else (SWEEP, other)
    job = finished(context, submit_loop(context, owner, asked, idempotency=None), "succeeded")
    id = "0" * 32 if which == "unknown" else job.id
    with pytest.raises(ProblemError, match=f"no sweep has the id {id}: look up the id in the list") as refused:
        submit_calibration(context, key, CalibrationRequest(sweeps=[id]), idempotency=None)
    assert refused.value.status == 404


def test_a_forecast_is_refused_until_its_calibration_has_succeeded(context: Context, key: ApiKey) -> None:
    sweep = finished(context, submit_loop(context, key, SWEEP, idempotency=None), "succeeded")
    model = submit_calibration(context, key, CalibrationRequest(sweeps=[sweep.id]), idempotency=None)
    asked = ForecastQuestion(workflow="augment", synthetic_fraction=0.1, n_initial=500, risk_model=model.id)
    with pytest.raises(ProblemError, match=f"the calibration {model.id} is queued, expected succeeded"):
        checked_forecast(context, key, asked)
    finished(context, model, "succeeded")
    assert checked_forecast(context, key, asked)["risk_model"] == model.id


def test_a_checked_forecast_adds_no_job(context: Context, key: ApiKey) -> None:
    asked = {"workflow": "augment", "generations": 4, "synthetic_fraction": 0.1, "n_initial": 500}
    assert checked_forecast(context, key, ForecastQuestion(**asked)).items() >= asked.items()
    assert context.queue.counts() == {}
