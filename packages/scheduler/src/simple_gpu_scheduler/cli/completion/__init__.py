"""completion: say here what this folder is for."""
