"""Work in child processes: the worker, its tasks, the runner that starts it, and the journal of events."""
