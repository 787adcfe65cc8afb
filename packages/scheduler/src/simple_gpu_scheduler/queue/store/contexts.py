"""Where commands run, in the queue's file: each context is kept once."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3

from simple_gpu_scheduler.queue.records import Context


def context_number(database: sqlite3.Connection, context: Context) -> int:
    """The number of a context, which is kept if it is new."""
    content = encoded(context)
    digest = hashlib.sha256(content).digest()
    row = database.execute("SELECT id FROM contexts WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        cursor = database.execute(
            "INSERT INTO contexts (digest, content) VALUES (?, ?)", (digest, content)
        )
        return int(cursor.lastrowid or 0)
    return int(row[0])


def encoded(context: Context) -> bytes:
    """A context as it is kept."""
    texts = [[os.fsdecode(name), os.fsdecode(value)] for name, value in context.environ]
    return json.dumps([os.fsdecode(context.cwd), context.umask, texts]).encode()


def decoded(content: bytes) -> Context:
    """The context that was kept so."""
    cwd, umask, texts = json.loads(content)
    environ = tuple((os.fsencode(name), os.fsencode(value)) for name, value in texts)
    return Context(os.fsencode(cwd), environ, umask)
