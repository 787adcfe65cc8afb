"""Programs at the paths that version 0.2 gave them; they are kept for one more release.

Two things still start them: programs of version 0.2 that run while the package is upgraded, and
jobs that version 0.2 froze in the queue, whose commands name `snapshot_main`. Each module here only
runs its program at the new path.
"""
