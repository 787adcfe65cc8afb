"""The contexts in which commands run, in the queue's file. Jobs share equal contexts."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3

from simple_gpu_scheduler.queue.records import Context


def context_number(database: sqlite3.Connection, context: Context) -> int:
    """Return the number of a context; a new context is added."""
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
    """Return a context as JSON."""
    variables = [[os.fsdecode(name), os.fsdecode(value)] for name, value in context.environ]
    return json.dumps([os.fsdecode(context.cwd), context.umask, variables]).encode()


def decoded(content: bytes) -> Context:
    """Return the context that `encoded` has written."""
    cwd, umask, variables = json.loads(content)
    environ = tuple((os.fsencode(name), os.fsencode(value)) for name, value in variables)
    return Context(os.fsencode(cwd), environ, umask)
