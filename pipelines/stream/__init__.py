"""A stream worker: messages in, outcomes out, each exactly once. `worker.py` is the loop; docs/delivery.md what it promises."""
