"""The durable queue: what a job is, and what may become of it. Pure."""
