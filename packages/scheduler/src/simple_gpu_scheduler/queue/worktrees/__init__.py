"""Copies of what a job runs, beside the queue's file: snapshots of git work trees, and scripts.

`sgs submit --freeze` takes a `snapshot`: a commit in a store of our own, `snapshots.git`. Before
the job starts, `checkout_main` makes its copy in `frozen/JOB`, which retries use again. A script
is kept in `scripts/`, by the hash of its text.

Who adds or uses such files holds `usage_lock` shared; `sgs clean` holds it alone, and removes what
no job needs. Every file or folder appears in one rename, so it is complete or not there, whoever
is killed. The user's repository is only read, no program that it names is run, and nothing is
fetched (`git`). Begin with `snapshot`, then read `checkout`.
"""
