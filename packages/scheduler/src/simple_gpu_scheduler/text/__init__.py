"""Text for a terminal: made safe to show, measured, cut, and laid out in columns.

What jobs, users and drivers wrote may hold anything, so it passes `printable` first. The other
modules expect such text. Widths are columns of the terminal, not characters.

All of it is pure, and imports nothing else of the package. First open `printable`.
"""
