"""The durable queue (`sgs submit`, `status`, `server`) beside other queues."""
