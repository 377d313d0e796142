"""What a receipt says: loss against the source, noise floor, speed, memory, samples, and the gate over them."""
