"""Hashes, seals and tokens: the only room that imports jose and passlib."""
