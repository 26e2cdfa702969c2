"""Evidence of each item's origin: probes, neighbours, near duplicates, calibrated scores."""
