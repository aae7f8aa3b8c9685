"""The market: commands in, events out. Pure, deterministic, integers only.

``decide`` looks and answers, ``apply`` is the only one that changes the state.
"""
