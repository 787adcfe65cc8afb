"""What programs of version 0.2 that run on need of the old package, for one release more.

While such a program runs, the package may be upgraded under it. It still starts its helper
programs where they were, and imports late what it has not needed before. Frozen jobs in the
queue name one of these programs. `old_classes` says how old and new code meet in one process.
"""
