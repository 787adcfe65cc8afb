"""Detectors of anomalies and of what lies outside a distribution."""
