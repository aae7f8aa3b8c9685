"""The door: HTTP and WebSocket, authentication, limits, metrics and the live page.

Knows the wire, the signatures and the vocabulary of commands and events; the rest of the
coordinator it sees through ``services.Services`` only.
"""
