"""SQL, no HTTP: one file a noun; each function takes a Scope first."""
