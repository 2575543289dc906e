"""Labelled datasets on disk: pairs of files, read one at a time."""
