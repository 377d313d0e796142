"""What was made: found on the shelf, checked, signed, rebuilt, and told of in a model card."""
