"""Policies compared by simulation."""
