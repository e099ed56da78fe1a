"""The parts of a search for an algorithm's settings."""
