"""Wire shapes, written out."""
