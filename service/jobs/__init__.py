"""Execution of jobs: the worker processes and their supervisor."""
