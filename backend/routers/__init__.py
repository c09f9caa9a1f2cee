"""HTTP, no SQL: one file a noun."""
