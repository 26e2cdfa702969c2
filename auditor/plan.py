"""A team's plan to train on the data: workflow, set sizes, sampling bias, and number of generations."""

from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any

from auditor.workflows import workflow_named
from indexes.errors import InputError

__all__ = ["GENERATIONS", "PLAN_FIELDS", "Plan", "plan_named"]

GENERATIONS = 8  # by default


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a self-consuming training loop. A size of None stands for the size of the audited set.

    Raises InputError for invalid values, such as negative sizes.
    """

    workflow: str  # a name in WORKFLOWS
    _: KW_ONLY
    generations: int = GENERATIONS  # T
    n_initial: int | None = None  # items that generation 1 is trained on
    n_real: int | None = None  # real items of each later generation, if the workflow uses any but the initial ones
    n_synthetic: int | None = None  # synthetic items that each generation adds
    bias: float = 1.0  # sampling bias λ: 1 for none, towards 0 for samples of high quality and low diversity

    def __post_init__(self) -> None:
        workflow_named(self.workflow)
        sizes = {"n_initial": self.n_initial, "n_real": self.n_real, "n_synthetic": self.n_synthetic}
        wrong = [f"{name} {n}" for name, n in sizes.items() if n is not None and n < (name == "n_initial")]
        if self.generations < 2:
            wrong.append(f"generations {self.generations}")
        if wrong:
            raise InputError(
                f"the plan has {', '.join(wrong)}, expected at least 2 generations, at least 1 initial item and no "
                "negative count"
            )
        if not 0 < self.bias <= 1:
            raise InputError(f"the sampling bias is {self.bias}, expected a number above 0 and at most 1")

    def for_set(self, n: int) -> "Plan":
        """The plan with sizes of None set to n; `n_real` is set to 0 if the workflow adds no real items."""
        return replace(
            self,
            n_initial=n if self.n_initial is None else self.n_initial,
            n_real=self._n_real if self._n_real is not None else n,
            n_synthetic=n if self.n_synthetic is None else self.n_synthetic,
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of initial, real and synthetic items; raises InputError if a size is None."""
        if self.n_initial is None or self._n_real is None or self.n_synthetic is None:
            raise InputError(
                "the plan has sizes of None, which stand for the size of an audited set: use plan.for_set(n)"
            )
        return self.n_initial, self._n_real, self.n_synthetic

    @property
    def _n_real(self) -> int | None:
        """Number of real items beyond the initial ones; always 0 for workflows that use no further real items."""
        return 0 if workflow_named(self.workflow).real in ("none", "initial") else self.n_real


PLAN_FIELDS = tuple(field.name for field in fields(Plan))


def plan_named(workflow: str | None, **given: Any) -> Plan | None:
    """The plan for a workflow, or None without a workflow. Raises InputError if sizes are given without a workflow."""
    if workflow is not None:
        return Plan(workflow, **given)
    if unused := [name for name in ("n_initial", "n_real", "n_synthetic") if given.get(name) is not None]:
        raise InputError(f"{', '.join(unused)} was given and no workflow was named: name the workflow that uses it")
    return None
