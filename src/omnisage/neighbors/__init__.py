"""Importance neighborhoods of every entity, by random walk with restart over subsets of relations."""

from omnisage.neighbors.artifact import Block, TypeNeighbors, open_neighbors
from omnisage.neighbors.config import NeighborsConfig, Subset

__all__ = ["Block", "NeighborsConfig", "Subset", "TypeNeighbors", "open_neighbors"]
