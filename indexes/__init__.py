"""From bytes to neighbours: sources, encoders, exact and approximate search, and their storage."""
