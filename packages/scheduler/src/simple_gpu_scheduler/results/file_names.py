"""The names in a results directory, for its writer and its reader. Pure.

DIR/.scheduler-ID       locked by each scheduler that writes to DIR
DIR/SEQ/command         the command of job SEQ, and a newline
DIR/SEQ/stdout, stderr  its output
DIR/SEQ/result.json     how it ended; written last
DIR/SEQ/attempt-N/      the same files of an earlier run of the job
"""

from __future__ import annotations

COMMAND, STDOUT, STDERR, RESULT = "command", "stdout", "stderr", "result.json"
JOB_FILES = (COMMAND, STDOUT, STDERR, RESULT)

MARK_PREFIX = ".scheduler-"
UNLOCKED_SUFFIX = ".new"  #: of a mark that its scheduler is about to lock


def job_folder(seq: int) -> str:
    """Return the name of a job's folder."""
    return str(seq)


def is_job_number(name: str) -> bool:
    """Return whether the name is that of a job's folder."""
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 19


def attempt_folder(number: int) -> str:
    """Return the name of the folder for the files of an earlier run, counted from 1."""
    return f"attempt-{number}"
