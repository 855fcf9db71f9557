"""What joins sources, transforms and sinks: batch runs, single items, development services."""
