"""The installed `sgs`."""

from sgs_command import sgs

__all__ = ["sgs"]
