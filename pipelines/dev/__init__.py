"""Real services for trying: `wavemill dev up`. A new one is a module here and a line in `services.py`."""
