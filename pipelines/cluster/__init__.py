"""A run on a cluster: its driver, what a worker does with its share of the units, and the pool that starts workers. A new runner is a branch of `driver.options`."""
