"""What a worker can do, one task a file with `run(task, emit)`."""
