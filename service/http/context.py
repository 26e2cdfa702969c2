"""The objects that every route uses: the job queue, ledger, API keys, supervisor and settings."""

from dataclasses import dataclass

from fastapi import Request

from service.allowed_roots import AllowedRoots
from service.http.metrics import Metrics
from service.jobs.supervisor import Supervisor
from service.settings import ServiceSettings, Settings
from service.storage.api_keys import Keys
from service.storage.database import Database
from service.storage.job_queue import JobQueue
from service.storage.ledger import Ledger

__all__ = ["Context", "context_of", "make_context"]


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running service."""

    home: Settings
    settings: ServiceSettings
    roots: AllowedRoots
    database: Database
    queue: JobQueue
    ledger: Ledger
    keys: Keys
    supervisor: Supervisor
    metrics: Metrics


def make_context(home: Settings, settings: ServiceSettings) -> Context:
    """Open the database of a home folder and create the parts of the service, without starting any of them."""
    roots = AllowedRoots.of(settings.allowed_roots, allow_private=settings.allow_private_addresses)
    database = Database(home.database)
    queue = JobQueue(database, size=settings.queue_size, max_deaths=settings.max_attempts)
    supervisor = Supervisor(queue, home, settings, roots)
    metrics = Metrics(queue, workers=settings.workers)
    return Context(home, settings, roots, database, queue, Ledger(database), Keys(database), supervisor, metrics)


def context_of(request: Request) -> Context:
    """The parts of the service that handles a request."""
    found: Context = request.app.state.context
    return found
