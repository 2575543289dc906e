"""Inputs that nobody means well, by the thousand and each from its seed, and what they may cost."""
