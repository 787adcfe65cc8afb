"""Normalization of inputs and of layers."""
