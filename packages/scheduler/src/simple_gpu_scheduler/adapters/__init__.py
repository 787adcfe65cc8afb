"""Programs where version 0.2 had them, for one release more.

Programs of that version that run while the package is upgraded start them, and frozen jobs in the
queue name one of them.
"""
