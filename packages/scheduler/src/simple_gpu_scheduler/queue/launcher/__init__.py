"""The launcher: the process that starts the queue's jobs and records how they end.

It keeps running when the server dies, so that exit statuses are not lost. It holds the lock of its
journal `NAME.journal` as long as it lives, and is the only one who writes there. It takes orders
from one server at a time through `NAME.sock`, and reports news there; a server first waits until
the orders of the one before it are carried out. It ends once it has neither a server nor a job.

An attempt is in the journal before it is started (`begins`), and its exit status before the kernel
forgets it (`exits`). `queue.journal` describes the entries.

`main` is the program; it is one file without imports of ours, so that it starts fast and needs
little memory. `client` is the server's side.
"""
