"""Generative models: estimators of their likelihood."""
