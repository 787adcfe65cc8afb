"""leases: say here what this folder is for."""
