"""Studies: rows that differ in a few fields of one config, run with equal budget and compared (`docs/results.md`).

Command: `omnisage ablate STUDY.yaml`.
"""
