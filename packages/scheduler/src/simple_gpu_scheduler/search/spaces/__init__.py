"""spaces: say here what this folder is for."""
