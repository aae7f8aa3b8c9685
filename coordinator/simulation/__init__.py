"""Homes made from real profiles, and the demo community that they form."""
