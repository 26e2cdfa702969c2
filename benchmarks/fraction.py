"""The synthetic fraction where the truth is known: every pair of known and incoming generators, share and size.

    python benchmarks/fraction.py essays --references 60 --workers 2
    python benchmarks/fraction.py all --references 60 --workers 2 --keep rows.jsonl > table.md

Every reference splits its pools anew and is asked about a set of every incoming generator, share and size. A cell is a
pair, a size and a share. Coverage comes with its 95 % Clopper–Pearson limits. `let through`: verdict pass or warn where
the true share reaches the default policy's `fail`. `cleared`: the same where nothing is synthetic; `failed`: verdict
fail there.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from fraction_scenarios import SCENARIOS, items_of

from auditor.evaluation import (
    Accuracy,
    EvaluatedDraw,
    evaluate_reference,
    holds,
    references_of,
    share_of,
    summarise,
)
from auditor.records import read_record, record_document
from auditor.statistics.intervals import Measure
from service.engines import local_map

_BAR, _AIM = 0.9, 0.95  # coverage that each cell is to reach, and its upper confidence limit where it does not

Draws = Sequence[EvaluatedDraw]


def rows_kept(name: str, references: int, workers: int, file: Path) -> list[EvaluatedDraw]:
    """The draws of so many references in order; those of a finished one are added to the file, and kept."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    found = {line["reference"]: drawn_again(line["rows"], file) for line in lines if line["scenario"] == name}
    missing = [number for number in range(references) if number not in found]
    work = partial(evaluate_reference, SCENARIOS[name], items_of(name), name=name)
    with file.open("a") as out, local_map(workers) as run:
        for number, draws in zip(missing, run(work, missing), strict=True):
            found[number] = draws
            record = {"scenario": name, "reference": number, "rows": [record_document(draw) for draw in draws]}
            out.write(json.dumps(record) + "\n")
            out.flush()
    return [draw for number in range(references) for draw in found[number]]


def drawn_again(rows: Sequence[object], file: Path) -> tuple[EvaluatedDraw, ...]:
    """The draws of a line of the file."""
    return tuple(read_record(EvaluatedDraw, row, where=str(file)) for row in rows)


HEADER = (
    "| known ← in the set | n | true | sets | stated covers | determined | of these cover | width "
    "| let through | if reference matches: MAE | covers | width | if generators known: MAE | covers | width |"
)
PAIRS = (
    "| known ← in the set | separation | may hide | sets | stated covers, worst cell | determined | of these cover "
    "| width | let through | clean: failed | clean: cleared |"
)


def cell(draws: Draws) -> list[str]:
    """The figures of one cell."""
    found = summarise(draws)
    return [
        str(found.draws), limits(found.stated.coverage), number(found.status["determined"], 2),
        limits(found.coverage_if_determined), number(found.stated.width), number(found.let_through),
        *_conditional(found.if_reference_matches), *_conditional(found.if_generators_known),
    ]  # fmt: skip


def _conditional(found: Accuracy) -> list[str]:
    return [number(found.error, 4), limits(found.coverage), number(found.width)]


def pooled(draws: Draws) -> list[str]:
    """The figures of a pair over all its cells."""
    found = summarise(draws)
    return [
        number(found.separation), number(found.may_hide), str(found.draws), number(_worst(draws), 2),
        number(found.status["determined"], 2), limits(found.coverage_if_determined), number(found.stated.width),
        limits(found.let_through), limits(found.clean_failed), limits(found.clean_cleared),
    ]  # fmt: skip


def _worst(draws: Draws) -> Measure:
    """The least coverage of a cell."""
    return min((coverage(members) for members in grouped(draws, by_cell).values()), key=lambda found: found.estimate)


def coverage(draws: Draws) -> Measure:
    """Of the stated intervals."""
    return share_of(holds(draw.stated, draw.truth) for draw in draws)


def by_cell(draw: EvaluatedDraw) -> tuple[str, int, float]:
    """The cell of a draw."""
    return draw.pair.title, draw.n, draw.prevalence


_Row = TypeVar("_Row")
_Key = TypeVar("_Key")


def grouped(rows: Sequence[_Row], key: Callable[[_Row], _Key]) -> dict[_Key, list[_Row]]:
    """Rows by their key, in order of first mention."""
    groups: dict[_Key, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def limits(share: Measure) -> str:
    """A share and its 95 % Clopper–Pearson limits."""
    return f"{share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}]" if share.is_known else "–"


def number(found: Measure, digits: int = 3) -> str:
    """An estimate alone."""
    return f"{found.estimate:.{digits}f}" if found.is_known else "–"


SUMMARY = (
    "| scenario | generators known | sets | stated covers | worst cell | determined | of these cover | width "
    "| let through | clean: failed | clean: cleared |"
)


def report_summary(found: Mapping[str, Draws]) -> None:
    """All pairs of a scenario together, by the number of generators that are known."""
    print(f"\n## By the number of known generators\n\n{SUMMARY}\n|{'---|' * SUMMARY.count(' |')}")
    for name, draws in found.items():
        for count, members in grouped(draws, lambda draw: len(draw.pair.known)).items():
            _, _, sets, worst, *rest = pooled(members)
            print(line(name, str(count), sets, limits(coverage(members)), worst, *rest))


def report(name: str, draws: Draws) -> None:
    """The scenario's tables: the pairs, then every cell, worst coverage first."""
    print(f"\n## {name}\n\n{SCENARIOS[name].summary}\n\n{PAIRS}\n|{'---|' * PAIRS.count(' |')}")
    for title, members in grouped(draws, lambda draw: draw.pair.title).items():
        print(line(title, *pooled(members)))
    print(f"\n{HEADER}\n|{'---|' * HEADER.count(' |')}")
    for key, members in _worst_first(grouped(draws, by_cell)):
        print(line(*map(str, key), *cell(members)))
    sys.stdout.flush()


def report_worst(found: Mapping[str, Draws], most: int = 20) -> None:
    """The worst cells of all scenarios, and how many lie below the bar of .90."""
    cells = _worst_first(
        {(name, *key): m for name, draws in found.items() for key, m in grouped(draws, by_cell).items()}
    )
    below = [members for _, members in cells if coverage(members).estimate < _BAR]
    plain = sum(coverage(members).high < _AIM for members in below)
    print(f"\n## The worst of {len(cells)} cells\n")
    print(f"{len(below)} cover less than {_BAR:.2f}; in {plain} of them the upper limit is below {_AIM:.2f} too.\n")
    print(f"| scenario {HEADER}\n|{'---|' * (HEADER.count(' |') + 1)}")
    for key, members in cells[:most]:
        print(line(*map(str, key), *cell(members)))


def _worst_first(cells: Mapping[_Key, Draws]) -> list[tuple[_Key, Draws]]:
    return sorted(cells.items(), key=lambda cell: coverage(cell[1]).estimate)


def line(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run the scenarios asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", help=f"all, or some of {', '.join(SCENARIOS)}")
    parser.add_argument("--references", type=int, default=60, help="of each pair")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(os.devnull), help="JSONL of what is finished, to go on with")
    options = parser.parse_args()
    print(f"# Synthetic fraction, {options.references} references a pair")
    found: dict[str, Draws] = {}
    for name in scenarios_named(options.scenarios):
        references = options.references * len(references_of(SCENARIOS[name]))
        found[name] = rows_kept(name, references, options.workers, options.keep)
        report(name, found[name])
    report_summary(found)
    report_worst(found)


def scenarios_named(names: Sequence[str]) -> list[str]:
    """The scenarios asked for; ends the program where there are none of that name."""
    wanted = list(SCENARIOS) if names == ["all"] else list(names)
    if unknown := sorted(set(wanted) - set(SCENARIOS)):
        sys.exit(f"no scenario is called {', '.join(unknown)}, expected some of {', '.join(SCENARIOS)}")
    return wanted


if __name__ == "__main__":
    main()
