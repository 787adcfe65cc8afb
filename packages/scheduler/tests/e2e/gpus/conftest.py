"""Programs on a machine of eight cards, where the kernel itself sees who uses which."""

from fake_nvml import driver, library
from lease_machine import machine, occupy, server, stranger, tmp_path

__all__ = ["driver", "library", "machine", "occupy", "server", "stranger", "tmp_path"]
