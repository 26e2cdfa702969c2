"""Routes for forecasts and searches, which are answered immediately, without a job."""

from fastapi import APIRouter

from auditor.results import ForecastResult
from service.http.auth import Reader
from service.http.problems import responses
from service.http.routes.jobs import Service
from service.http.schemas import ForecastQuestion, SearchQuestion, SearchView
from service.http.submissions import checked_forecast
from service.references.shelf import find_reference

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["questions"])
_ASKED = responses(401, 403, 404, 409, 413, 422, 503)


@router.post("/forecasts", responses=_ASKED)
def forecast(asked: ForecastQuestion, context: Service, key: Reader) -> ForecastResult:
    """Forecast the probability and the course of model autophagy if models are trained on the data in a workflow."""
    return ForecastResult.from_dict(context.supervisor.ask("forecast", checked_forecast(context, key, asked)))


@router.post("/search", responses=_ASKED)
def search(asked: SearchQuestion, context: Service, key: Reader) -> SearchView:
    """Find the reference items that are nearest to given vectors, to an image, or to a text."""
    find_reference(asked.reference, context.home)
    return SearchView.model_validate(context.supervisor.ask("search", asked.model_dump(mode="json")))
