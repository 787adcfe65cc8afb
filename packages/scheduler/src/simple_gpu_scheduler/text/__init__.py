"""text: say here what this folder is for."""
