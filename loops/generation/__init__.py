"""One generation: its training set, its chains, the selection of its samples, its measures, its record on disk."""
