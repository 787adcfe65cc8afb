"""Run shell commands on the GPUs that are free, and print the commands of a search."""

__version__ = "0.2.0"
