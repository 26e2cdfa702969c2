"""What each item says of its origin: probes, neighbours, near duplicates, calibrated scores."""
