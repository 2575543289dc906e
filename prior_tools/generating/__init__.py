"""Driving running ComfyUI servers over HTTP, for `generate`."""
