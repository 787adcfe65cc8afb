"""The installed commands, one file each."""
