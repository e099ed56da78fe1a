"""Prefect flows, the servers and the command line: wiring only."""
