"""A request becomes a plan: the method, the type, what is made of it, and every choice with its reason."""
