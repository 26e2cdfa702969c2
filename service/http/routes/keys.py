"""Routes that create, list and revoke API keys; they need a key with the scope admin."""

from typing import Annotated

from fastapi import APIRouter, Path

from service.http.auth import Admin
from service.http.problems import ProblemError, responses
from service.http.routes.jobs import Service
from service.http.schemas import KeyRequest, KeyView, NewKeyView

__all__ = ["router"]

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.post("", status_code=201, responses=responses(401, 403, 413, 422))
def create_key(asked: KeyRequest, context: Service, key: Admin) -> NewKeyView:
    """Create an API key; its token is shown only in this response."""
    made, token = context.keys.create(asked.name, asked.scopes, sees=asked.sees)
    view = made.sees if made.sees == "all" else list(made.sees)
    return NewKeyView(id=made.id, name=made.name, scopes=sorted(made.scopes), sees=view, token=token)


@router.get("", responses=responses(401, 403))
def list_keys(context: Service, key: Admin) -> list[KeyView]:
    """All API keys, including revoked keys."""
    return [KeyView.model_validate(found) for found in context.keys.listed()]


@router.delete("/{id}", status_code=204, responses=responses(401, 403, 404, 422))
def revoke_key(id: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")], context: Service, key: Admin) -> None:
    """Revoke an API key immediately and permanently."""
    if not any(found["id"] == id for found in context.keys.listed()):
        raise ProblemError(404, f"no key has the id {id!r}: look up the id in the list of keys")
    context.keys.revoke(id)
