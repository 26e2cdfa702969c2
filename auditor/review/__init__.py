"""Human review: the choice of items to label, and the synthetic fraction estimated from the labels."""
