"""Figures of merit, intervals and thresholds: arrays in, numbers out."""
