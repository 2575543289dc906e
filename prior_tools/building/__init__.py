"""From a dataset and a VAE to its prior: reading, checkpoints, several processes."""
