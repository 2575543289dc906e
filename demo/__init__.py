"""Procedural street scenes with exact label maps: a small labelled set for trials and tests."""
