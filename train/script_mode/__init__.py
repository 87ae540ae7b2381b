"""A script of the user's: fetched, prepared and run as AWS's own TensorFlow container does."""
