"""Nearest-neighbour search: exact by matrix products, approximate by faiss."""

from indexes.search.exact import Membership, ball_counts, knn, membership

__all__ = ["Membership", "ball_counts", "knn", "membership"]
