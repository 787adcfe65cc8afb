"""Quantities as users write and read them: durations, sizes of memory, times."""
