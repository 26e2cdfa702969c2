"""Nearest neighbours: exact ones by matrix products, approximate ones by faiss."""

from indexes.search.exact import Membership, ball_counts, knn, membership

__all__ = ["Membership", "ball_counts", "knn", "membership"]
