"""What is signed, sent and proved: messages, hashes, keys, proofs and the client.

Standard library, ``cryptography`` and ``aiohttp`` only; no Home Assistant, no module state.
Every field, its unit and its limits: ``docs/api/PROTOCOL.md``.
"""
