"""The data a loop starts from, as a population that a loop may ask."""
