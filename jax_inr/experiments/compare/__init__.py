"""Methods on folders of images."""
