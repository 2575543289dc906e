"""`generate` on a Ray cluster: a ComfyUI of our own on each GPU, driven where it runs."""
