"""The parts that touch the machine: processes, files, terminal, NVML."""
