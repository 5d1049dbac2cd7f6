"""Acoustically grounded word embeddings: written words and spoken ones in one space, trained by the multi-view loss."""
