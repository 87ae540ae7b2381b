"""The training program: everything here goes into the image."""
