"""What all benchmarks share: starting and measuring commands, noise, reports, peers."""
