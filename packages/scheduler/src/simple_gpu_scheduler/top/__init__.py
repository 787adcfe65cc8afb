"""`sgs top`: the queue, the GPUs and a log in one terminal; keys change jobs.

It has no server. `reader` reads the queue's SQLite file, `allocation.gpu_status` asks the driver,
and a tail is read of the selected job's log. Each does so in a `WorkerThread` of its own, so that
neither a locked file nor a driver that hangs stops the keys. Only the event loop's thread changes
the board; it replaces it as a whole.

`refresh.Watch` reports when files change (inotify); `refresh.Refresher` then reads, and rests four
times as long as reading took. Keys, footer and help come from one list, `bindings.BINDINGS`, by
Textual's own bindings. `actions` changes jobs through the store, as `sgs cancel` and others do.

Open `app` first (what keys do), then `viewer` (what is read, and when). `screen/` draws.
"""
