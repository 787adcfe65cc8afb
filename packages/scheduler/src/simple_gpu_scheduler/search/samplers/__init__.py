"""The order in which a search tries its combinations.

`grid` renders all combinations quickly. `permutation` shuffles their indices in constant memory.
`draws` draws combinations without end: independently, or from a Sobol sequence (`sobol`, with the
table `sobol_directions`).

All are generators that depend on the seed alone. Users repeat searches by their seeds, so tests
hold what some seeds give.
"""
