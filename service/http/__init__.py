"""The HTTP service: routes, dashboard, authentication and error responses."""
