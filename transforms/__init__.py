"""Steps and engines: values in, values out, in the same order. A new engine is a file in `engines/` and a line in `engine.py`; a new operation is a module here and a row in `operations.py`."""
