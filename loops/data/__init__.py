"""The real data of a loop: formulas, bundled sets, user sources, and contaminated variants of them."""
