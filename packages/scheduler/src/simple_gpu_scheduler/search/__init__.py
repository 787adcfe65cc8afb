"""Hyperparameter search: spaces, samplers and the commands made from them."""
