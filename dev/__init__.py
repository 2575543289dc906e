"""Development harness: gets, starts and drives a real ComfyUI for the tests and the demo.

Nothing in this package is part of the node pack itself, and nothing here imitates ComfyUI.
"""
