"""Programs on a machine of eight cards, where the kernel itself sees who uses which."""

from lease_machine import machine, occupy, tmp_path

__all__ = ["machine", "occupy", "tmp_path"]
