"""What is kept in the database: references, audits, jobs, keys."""
