"""Estimators of gradients through discrete choices."""
