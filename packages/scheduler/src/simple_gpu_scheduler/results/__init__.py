"""Results directories: what `simple_gpu_scheduler --results DIR` writes, read as a table.

- `writer` puts the command, output and result of each job into DIR/SEQ/. It never overwrites a
  file: those of an earlier run move to DIR/SEQ/attempt-N/. result.json is written last.
- `reader` reads the same files at any time, also while jobs run. `file_names` has the names.
- Each scheduler locks a mark in DIR (`writer_lock`). Two schedulers of one user never write to the
  same DIR. The reader knows from the marks which jobs without a result still run.
- Schedulers of several users may share DIR. Each job's folder belongs to one user, and nobody uses
  the files of others.

All other modules are pure: `parsing` finds metrics and parameters, `ranking` orders the jobs, and
`table` and `report` print them. First open `job`.
"""
