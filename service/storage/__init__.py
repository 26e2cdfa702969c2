"""The database: references, audits, jobs, keys."""
