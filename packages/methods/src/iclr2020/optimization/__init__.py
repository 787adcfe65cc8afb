"""Optimizers, and what training does."""
