"""Training of the demo's small models: autoencoder, UNet, ControlNet, segmentation net.

    python -m demo.training

trains what is missing and writes the weights file that Load SCP Demo Model loads. It resumes where
it was stopped, to the same weights.
"""
