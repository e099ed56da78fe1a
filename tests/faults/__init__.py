"""Commands that are ended at random moments, run again, and what must hold after each."""
