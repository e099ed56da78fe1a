"""The champions in use: which version, and which of them are loaded."""
