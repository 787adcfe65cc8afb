"""Functions of sets: pooling, and networks that keep or ignore the order."""
