"""The HTTP service: routes, dashboard, authentication, problems."""
