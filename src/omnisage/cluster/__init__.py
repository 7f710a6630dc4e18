"""Ranges of stages as tasks on other processes and hosts, by Ray; docs/ray.md."""
