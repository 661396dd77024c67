"""What can be learned from the weights of fields."""
