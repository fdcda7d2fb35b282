"""The lockfile for training runs: plan batches once, offline; fingerprint, verify, shard and replay them."""
