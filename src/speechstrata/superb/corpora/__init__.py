"""Probe corpora: the public SUPERB corpora from their folders, and `mini` ones from material that anyone can have."""
