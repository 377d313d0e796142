"""The parts of a receipt: loss against the source, noise floor, speed, memory, samples, and the gate that judges
them."""
