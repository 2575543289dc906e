"""Measures what the README claims, on this machine: `python -m bench`, or `make bench`.

A module per measurement, each with TITLE and `measure(options)`; a figure is a ratio, with its
bound where one is promised. All run on the CPU with random weights in the real architectures; see
`dev.weights`. `python -m bench.gpu` is for a GPU without ComfyUI.
"""
