"""What each position of a tensor sees of the image, followed through every operation of a forward pass."""
