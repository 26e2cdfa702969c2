"""Pictures of loops."""
