"""The steps of the collaborate machine."""
