"""What the reports in docs/ are made by."""
