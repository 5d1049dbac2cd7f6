"""Masked unit prediction: targets, masks, objective and training."""
