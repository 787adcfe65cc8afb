"""server: say here what this folder is for."""
