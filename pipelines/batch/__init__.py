"""A run over a manifest: plan, run, publish, resume."""
