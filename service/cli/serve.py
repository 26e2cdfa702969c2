"""The command `serve`, which runs the HTTP service, and the commands `keys`, which manage its API keys."""

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from indexes.errors import InputError, ResourceError
from service.cli.options import Home, Json, print_json, say
from service.presence import announced, refuse_while_served
from service.settings import ServiceSettings, Settings, read_service_settings, read_settings

__all__ = ["keys_app", "serve"]

keys_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke the API keys of the service.")


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8350,
    home: Home = None,
) -> None:
    """Run the HTTP service; its settings come from environment variables named MADAUDIT_…"""
    settings = read_service_settings()
    if not settings.auth and not _is_loopback(host):
        raise InputError(f"authentication is off and {host} is not a loopback address: set MADAUDIT_AUTH=on")
    folder = read_settings(home)
    with announced(folder.home, _address(host, port)):
        _run(folder, settings, host, port)


def _run(folder: Settings, settings: ServiceSettings, host: str, port: int) -> None:
    import uvicorn

    from service.http.app import create_app
    from service.http.context import make_context
    from service.jobs.logs import configure_logging

    configure_logging(settings.log_level)
    context = make_context(folder, settings)
    if settings.auth and not context.keys.listed():
        say("madaudit: no API key exists yet: stop the service and run madaudit keys create NAME --scope admin")
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(context), host=host, port=port, log_config=None, access_log=False, server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=settings.grace_s,
        )
    )  # fmt: skip
    try:
        server.run()
    except KeyboardInterrupt:  # which uvicorn passes on once all has ended well
        return
    except SystemExit:  # uvicorn's, when it cannot listen
        raise ResourceError(f"cannot listen on {host}:{port}: the port may be in use; choose another --port") from None


def _address(host: str, port: int) -> str:
    """URL of the service for clients on this machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    name = everywhere.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _keys(home: Path | None) -> Iterator[Any]:
    """Open the API keys of a home folder; raises ResourceError if a running service uses the folder."""
    settings = read_settings(home)
    refuse_while_served(settings.home)
    from service.storage.api_keys import Keys
    from service.storage.database import Database

    database = Database(settings.database)
    try:
        yield Keys(database)
    finally:
        database.close()


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Name of the key, e.g. its user.")],
    scope: Annotated[list[str], typer.Option("--scope", help="Scope: read, write or admin; repeat for more.")],
    sees: Annotated[
        list[str] | None,
        typer.Option("--sees", help="With scope read: id of another key whose jobs are visible; repeat for more."),
    ] = None,
    sees_all: Annotated[bool, typer.Option("--all", help="With scope read: the jobs of all keys are visible.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create an API key and print its token, which is not shown again."""
    if sees and sees_all:
        raise InputError("--sees and --all were both given: --all includes every key, so leave out --sees")
    with _keys(home) as keys:
        key, token = keys.create(name, scope, sees="all" if sees_all else sees or ())
    if as_json:
        view = key.sees if key.sees == "all" else list(key.sees)
        print_json({"id": key.id, "name": key.name, "scopes": sorted(key.scopes), "sees": view, "token": token})
        return
    typer.echo(token)
    say(f"key {key.id} for {key.name}: {', '.join(sorted(key.scopes))}{_view(key.sees)}; the token is not shown again")


def _view(sees: Sequence[str]) -> str:
    """Text that says which jobs of other keys a key may see."""
    if not sees:
        return ""
    return ", sees all jobs" if sees == "all" else f", sees the jobs of {', '.join(sees)}"


@keys_app.command("list")
def keys_list(home: Home = None, as_json: Json = False) -> None:
    """List all API keys, without their tokens."""
    with _keys(home) as keys:
        found = keys.listed()
    if as_json:
        print_json(found)
        return
    for key in found:
        state = f"revoked {key['revoked']}" if key["revoked"] else "in use"
        scopes = f"{', '.join(key['scopes'])}{_view(key['sees'])}"
        typer.echo(f"{key['id']}  {key['name']}: {scopes}; created {key['created']}, {state}")


@keys_app.command("revoke")
def keys_revoke(
    id: Annotated[str, typer.Argument(help="Id of the key, as in madaudit keys list.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Revoke an API key immediately and permanently."""
    with _keys(home) as keys:
        keys.revoke(id)
    if as_json:
        print_json({"revoked": id})
    else:
        typer.echo(f"revoked {id}")
