"""Where items come from: manifests, text, folders of audio. A new source is a module with `rows` and a line in `open.py`."""
