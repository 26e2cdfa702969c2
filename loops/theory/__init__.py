"""Theory of loops: closed forms and effective sample sizes."""
