"""Scores that a model must beat, fitted on training data only, and the scores of the model beside them.

Each module gives a `Scorer`: the scores of a block of queries against every candidate. All are deterministic.
"""
