"""One embedding per entity of a platform, learned from its graph, its content and its users' sequences."""

__version__ = "0.1.0"
