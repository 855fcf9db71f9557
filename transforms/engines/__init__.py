"""One file an engine, behind the contract of `transforms.engine`. To add one, write the file and its line in `ENGINES`."""
