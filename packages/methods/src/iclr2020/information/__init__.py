"""Estimators of information and of scores."""
