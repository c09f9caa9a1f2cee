"""`make soak`: many users for long, and whether the server stays as it was."""
