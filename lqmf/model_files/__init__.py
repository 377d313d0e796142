"""What lies in a model's files: headers, types of tensors, configurations, references, templates. Runs no model."""
