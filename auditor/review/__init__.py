"""Which items a person labels, and what the labels say about the fraction."""
