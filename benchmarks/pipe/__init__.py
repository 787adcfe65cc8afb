"""`simple_gpu_scheduler` beside other dispatchers of shell lines."""
