"""Opens folders and files so that no other user can put others in their place.

- Each path is walked from the root, folder by folder, by descriptors: what was checked is used.
- A folder is *safe* if only we and root can change what the names in it mean. State, leases and
  the queue lie in safe folders (`folders`).
- Results and logs may lie anywhere (`named_paths`): there, links of other users aren't followed,
  and only files of our own are written.
- New folders and files get the rights of our umask, also in folders of others (`creation`).
- What isn't safe is an `UnsafeError` (`trust`). It names the path, what is wrong and the remedy.

Begin with `folders`. `state_dir` says where state is kept, `disk_space` what a full disk lacks.
"""
