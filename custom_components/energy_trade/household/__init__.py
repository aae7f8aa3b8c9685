"""The home's own judgement: what to sign, what to trade, and why.

Pure: time, keys and meter values are handed in, nothing here sleeps, reads a clock or opens a socket.
Home Assistant and the simulated homes run exactly this code.
"""
