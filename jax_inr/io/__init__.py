"""Images, fields and runs as files."""
