"""Side-by-side measurements of the scheduler and of the programs one would use in its place."""
