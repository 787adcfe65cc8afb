"""Moved to `gpus.amd`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.gpus.amd import AmdDevices as AmdDevices
from simple_gpu_scheduler.gpus.amd import NoAmdDriverError as NoAmdDriverError
from simple_gpu_scheduler.gpus.amd import NoAmdsmiError as NoAmdsmiError
