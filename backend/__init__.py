"""Tend: a multi-user task manager backend."""
