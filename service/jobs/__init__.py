"""Jobs: the queue, the workers that do them, and their supervisor."""
