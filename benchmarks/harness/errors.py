"""What can go wrong."""

from __future__ import annotations


class BenchmarkError(Exception):
    """Nothing can be measured: a compiler is missing, or the floor itself failed."""


class RunFailed(Exception):
    """One command failed, ran too long, or did not do what it was asked to do."""
