"""Signed readings: which ones count, and the energy of an interval between two registers."""
