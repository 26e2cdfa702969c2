"""Which items a person labels, and what the labels say of the fraction."""
