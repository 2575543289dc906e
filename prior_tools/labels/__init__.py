"""Label maps: palettes, ids, files, and their way to the latent grid."""
