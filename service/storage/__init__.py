"""The database of references, audits, jobs and API keys."""
