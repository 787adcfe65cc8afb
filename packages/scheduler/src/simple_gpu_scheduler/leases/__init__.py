"""Leases: who may use which GPU, agreed between all users of a machine without a server.

A lease is a small file in a directory that everybody shares. Its owner's processes hold a lock on
it. A job inherits the open file, so the kernel ends the lease with the last process of the job. A
ticket is such a file, too: it says that somebody waits, and tickets are served in their order.

To allocate, a program locks the directory, reads all leases, and adds its own file. Anybody may
lock the directory, so safety doesn't depend on that lock: the program reads again after it has
added its file, and removes it if another lease doesn't fit beside it. Nobody can change a file of
another user, and a lease's owner is the owner of its file.

`records`, `ledger`, `format` and `waiter_timeout` are pure. `store` puts the parts together:
begin there. `file_creation` writes a lease, `lease_files` reads them all. `ports` says what the
rest of the program needs of it.
"""
