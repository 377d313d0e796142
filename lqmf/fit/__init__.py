"""What a model needs and how well it runs on a machine: sizes, memory, speed, loss, and the solver over them."""
