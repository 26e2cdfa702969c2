"""Entry point of the command line: it registers all commands and turns errors into exit codes."""

import io
import signal
import sys
import traceback
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from indexes.errors import AuditError, one_line
from service.cli.audit import audit, merge
from service.cli.forecast import calibrate, forecast
from service.cli.loop import loop_app
from service.cli.options import Json, Quiet, examples, print_json, say
from service.cli.reference import reference_app
from service.cli.review import report, review
from service.cli.serve import keys_app, serve
from service.cli.validate import validate

__all__ = ["app", "main"]

_INTERRUPTED = 130  # what typer makes of Ctrl-C

AUDIT_EXAMPLES = examples(
    "madaudit audit scraped/ --reference photos --out audits/scraped --workers 4",
    "madaudit audit crawl.jsonl.gz --reference essays --declare generators-complete --json",
    "madaudit audit emb.npy --reference clip --workflow fresh --n-real 500 --n-synthetic 1000",
)
REVIEW_EXAMPLES = examples(
    "madaudit review audits/scraped --n 50 --known-real photos/ --known-synthetic generated/sdxl",
    "madaudit review audits/scraped --labels labels.csv",
)
FORECAST_EXAMPLES = examples(
    "madaudit forecast --from audits/clip --workflow augment --model-samples first_model.npy",
    "madaudit forecast --synthetic-fraction 0.2 --n-initial 1000 --workflow replace --bias 0.8",
)
VALIDATE_EXAMPLES = examples(
    "madaudit validate --encoder forensic --real photos/ --synthetic sdxl=sdxl/ --synthetic flux=flux.zip",
    "madaudit validate --encoder lexical --real a=a.jsonl --real b=b.jsonl --synthetic gpt=gpt.jsonl --json",
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Audit a dataset before training on it: synthetic fraction, lost diversity, risk of model autophagy.",
)
app.add_typer(reference_app, name="reference")
app.command(epilog=AUDIT_EXAMPLES)(audit)
app.command(epilog=REVIEW_EXAMPLES)(review)
app.command(epilog=examples("madaudit report audits/crawl --format md"))(report)
app.command(epilog=examples("madaudit merge audits/part1 audits/part2 --out audits/whole"))(merge)
app.command(epilog=VALIDATE_EXAMPLES)(validate)
app.command(epilog=examples("madaudit calibrate calibration --out risk.npz"))(calibrate)
app.command(epilog=FORECAST_EXAMPLES)(forecast)
app.add_typer(loop_app, name="loop")
app.command(epilog=examples("MADAUDIT_ALLOWED_ROOTS=/data madaudit serve --port 8350"))(serve)
app.add_typer(keys_app, name="keys")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"madaudit {version('madaudit')}")
        raise typer.Exit


@app.callback()
def _options(
    shown: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the audits and their reports.")] = Path(
        "madaudit-demo"
    ),
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit real handwritten digits mixed with synthetic digits, and compare the estimates with the truth (offline)."""
    from service.cli.demo import run_demo

    rows = run_demo(out, seed=seed, say=lambda line: None if quiet else say(line))
    if as_json:
        print_json({"schema": "madaudit/demo/1", "audits": rows})
        return
    typer.echo(f"{'true':>6} {'estimate':>9} {'95 % interval':>17}  verdict       report")
    for row in rows:
        interval = f"{row['low']:.3f} – {row['high']:.3f}"
        estimate = "–" if row["estimate"] is None else f"{row['estimate']:.3f}"
        typer.echo(f"{row['true']:6.2f} {estimate:>9} {interval:>17}  {row['verdict']:<12}  {row['report']}")


def main() -> NoReturn:
    """Run the command line. An error becomes one line and an exit code; an unexpected error also prints a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a dash is no reason to fail
    try:
        status = app(standalone_mode=False)
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
    except AuditError as error:
        status = _fail(2, str(error))
    except typer.TyperException as error:
        status = _fail(2, error.format_message().strip() or "expected a command, see --help")
    except (BrokenProcessPool, MemoryError, OSError) as error:
        found = str(error).strip() or type(error).__name__
        status = _fail(
            3, f"the run failed ({found}): check the path, memory and disk, then run the same command to continue"
        )
    except SystemExit:  # with 1, from typer, when whoever reads standard output is gone
        status = _fail(3, "standard output was closed before the output was complete: run the same command again")
    except (KeyboardInterrupt, typer.Abort):
        status = _fail(3, "interrupted: run the same command again to continue where it stopped")
    except Exception as error:  # must not leave with 1, which says that the gate failed
        traceback.print_exc()
        status = _fail(3, f"the run failed ({type(error).__name__}): this is a bug in madaudit, please report it")
    sys.exit(status if isinstance(status, int) else 0)


def _fail(code: int, line: str) -> int:
    typer.echo(f"madaudit: {one_line(line)}", err=True)
    return code
