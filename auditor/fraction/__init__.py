"""The synthetic fraction of a set: estimates, bounds, what unseen generators may hide, what settles a verdict."""
