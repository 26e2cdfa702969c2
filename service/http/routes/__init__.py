"""The routes of the HTTP service; each module has the routes of one topic."""
