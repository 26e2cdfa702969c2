"""From loops that were run to a risk model, and what it is worth."""
