"""The commands that manage references: build, list, show, export, import, delete."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from indexes.errors import without_controls
from service.cli.options import BatchSize, Column, Device, Home, Json, Quiet, examples, print_json, say
from service.presence import refuse_while_served
from service.references.shelf import find_reference, list_references
from service.settings import read_settings

__all__ = ["reference_app"]

reference_app = typer.Typer(no_args_is_help=True, help="Build and manage trusted references.")


@reference_app.command(
    "build",
    epilog=examples(
        "madaudit reference build photos --real photos/ --synthetic sdxl=sdxl/ --synthetic flux=flux.zip --encoder "
        "forensic",
        "madaudit reference build essays --real human.jsonl --synthetic gpt=gpt.jsonl --encoder lexical",
    ),
)
def reference_build(
    name: str,
    real: Annotated[list[str], typer.Option("--real", help="[LABEL=]SRC: trusted real data; repeat for more.")],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", help="Encoder whose vectors distinguish real from synthetic items, e.g. forensic, lexical."
        ),
    ],
    synthetic: Annotated[
        list[str] | None,
        typer.Option("--synthetic", help="[LABEL=]SRC: samples of a known generator; repeat for more."),
    ] = None,
    simulate: Annotated[
        list[str] | None,
        typer.Option(
            "--simulate",
            help="Model family that is fitted to the real data as a stand-in for a generator; repeat for more.",
        ),
    ] = None,
    semantic_encoder: Annotated[
        str | None,
        typer.Option(
            "--semantic-encoder",
            help="Encoder for diversity and fidelity. (default: --encoder, if its vectors describe content)",
        ),
    ] = None,
    column: Column = None,
    batch_size: BatchSize = 256,
    device: Device = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random draws of the build.")] = 0,
    match_storage: Annotated[
        bool,
        typer.Option(
            "--match-storage", help="Re-encode lossless synthetic images with the JPEG settings of the real images."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing reference of this name.")] = False,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="YAML policy file; its field `unread` limits the unreadable share of the data."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build a reference from trusted data and examples of known generators."""
    settings = read_settings(home)
    refuse_while_served(settings.home)
    from auditor.policy import load_policy
    from service.cli.progress import ShardProgress
    from service.references.build import describe, make_reference, parse_labelled

    with ShardProgress("encoding", quiet=quiet) as progress:
        reference = make_reference(
            name,
            [parse_labelled(text, default="real") for text in real],
            [parse_labelled(text, default="synthetic") for text in synthetic or ()],
            encoder=encoder,
            semantic_encoder=semantic_encoder,
            settings=settings,
            column=column,
            batch_size=batch_size,
            device=device,
            seed=seed,
            match_storage=match_storage,
            simulate=simulate or (),
            overwrite=overwrite,
            unread=load_policy(policy).unread,
            on_progress=progress.count,
        )
    if as_json:
        print_json(describe(reference))
    else:
        _print_reference(describe(reference))


@reference_app.command("list")
def reference_list(home: Home = None, as_json: Json = False) -> None:
    """List all references; this command also works while a service is running."""
    found = list_references(read_settings(home), warn=lambda line: say(f"madaudit: {line}"))
    if as_json:
        print_json(found)
        return
    for reference in found:
        _print_reference(reference)
    if not found:
        typer.echo("no references yet: build one with madaudit reference build")


@reference_app.command("show")
def reference_show(name: str, home: Home = None, as_json: Json = False) -> None:
    """Show one reference."""
    settings = read_settings(home)
    folder = find_reference(name, settings)
    from auditor.reference.reference import load_reference
    from service.references.build import describe

    description = {**describe(load_reference(folder)), "folder": str(folder)}
    if as_json:
        print_json(description)
        return
    _print_reference(description)
    typer.echo(without_controls(f"  folder {folder}"))


@reference_app.command("export")
def reference_export(
    name: str,
    file: Annotated[Path, typer.Argument(help="Output file (an uncompressed tar).")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file of this name.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a reference to one file for another machine; the weights of its encoders are not included."""
    from service.references.transfer import export_reference

    found = export_reference(name, file, settings=read_settings(home), overwrite=overwrite)
    if as_json:
        print_json(found)
        return
    typer.echo(f"wrote {found['file']}: {name}, {found['bytes']} bytes")
    for weights in found["weights"]:
        typer.echo(
            f"  the file does not include the weights {weights['at']}; if the other machine stores these weights "
            f"elsewhere, audit with {weights['option']}"
        )


@reference_app.command("import")
def reference_import(
    file: Annotated[Path, typer.Argument(help="File written by madaudit reference export.")],
    name: Annotated[
        str | None, typer.Argument(help="Name for the imported reference. (default: its original name)")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing reference of this name.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check an exported reference and install it in the home folder."""
    settings = read_settings(home)
    refuse_while_served(settings.home)
    from service.references.transfer import import_reference

    found = import_reference(file, name, settings=settings, overwrite=overwrite)
    if as_json:
        print_json(found)
        return
    _print_reference(found)
    for weights in found["weights"]:
        typer.echo(f"  {_weights_in_words(weights)}")


def _weights_in_words(weights: Mapping[str, Any]) -> str:
    if weights["found"] is None:
        return f"the weights {weights['at']} are published: they are downloaded by that name when needed"
    if weights["found"]:
        return f"the weights {weights['at']} are on this machine: their digest is checked when they are loaded"
    return f"the weights {weights['at']} are not on this machine: audit with {weights['option']}"


@reference_app.command("delete")
def reference_delete(name: str, home: Home = None, as_json: Json = False) -> None:
    """Delete a reference."""
    settings = read_settings(home)
    refuse_while_served(settings.home)
    from service.references.build import delete_reference

    delete_reference(name, settings)
    if as_json:
        print_json({"deleted": name})
    else:
        typer.echo(f"deleted {name}")


def _print_reference(description: dict[str, Any]) -> None:
    items = ", ".join(f"{label} {count}" for label, count in description["items"].items())
    effective = description.get("effective_items", {})
    semantic = description["semantic_encoder"] or "none: diversity is not measured"
    typer.echo(f"{description['name']}: {items}; encoder {description['encoder']}, semantic encoder {semantic}")
    for label, fields in description.get("unread", {}).items():
        used, offered = description["items"][label], fields["counted"]
        typer.echo(
            f"  {label}: {used} of {offered} items used; {effective[label]} effective items (near copies count once)"
        )
    for label, reasons in description["skipped"].items():
        typer.echo(f"  skipped of {label}: {', '.join(f'{count} × {reason}' for reason, count in reasons.items())}")
    for warning in description.get("unread_warnings", ()):
        typer.echo(f"  left out: {warning}")
    for warning in description["warnings"]:
        typer.echo(f"  audits against this reference will be undetermined: {warning}")
    _print_promise(description["promise"])


def _print_promise(promise: dict[str, Any]) -> None:
    """Print what audits against a reference can decide, and which data would improve the reference."""
    for label, found in promise["separation"].items():
        typer.echo(
            f"  separation of {label} from the real items: {found['estimate']:.2f} ({found['low']:.2f} – "
            f"{found['high']:.2f}); an audit needs a lower interval end of at least 0.25"
        )
    for label, hidden in promise["left_out"].items():
        typer.echo(f"  if {label} were not in the reference, {100 * hidden['0.5']:.0f} % of its items would look real")
    for n, found in promise["at"].items():
        noticed = f"{100 * found['smallest_noticed']:.0f} %"
        typer.echo(
            f"  in a set of {n} items, an unknown generator is noticed if its share is at least {noticed} and at most "
            f"{100 * found['may_hide']:.0f} % of its items look real"
        )
        typer.echo(
            f"    in 80 % of sets without synthetic items, the interval of the synthetic fraction ends below "
            f"{100 * found['clean_high']:.0f} %; the default policy's verdict at this limit: {found['clean_verdict']}"
        )
    for addition in promise["add"]:
        typer.echo(f"  to improve the reference, add {addition}")
