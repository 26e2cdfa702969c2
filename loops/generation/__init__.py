"""Parts of one loop generation: training set, models, sample selection, measures, and storage on disk."""
