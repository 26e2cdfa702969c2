"""Theoretical results about loops: closed-form expectations and effective sample sizes."""
