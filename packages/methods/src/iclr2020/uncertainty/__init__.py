"""Confidence that can be trusted."""
