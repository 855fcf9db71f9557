"""Dagster definitions that start runs."""
