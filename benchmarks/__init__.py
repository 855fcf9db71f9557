"""Measurements that `make bench` runs, each as a ratio or a figure of one machine on one day. Nothing here is a test."""
