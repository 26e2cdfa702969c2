"""One generation of a loop: training set, chains, selection of samples, measures, and the record on disk."""
