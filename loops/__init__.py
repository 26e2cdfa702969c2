"""What happens when a model eats its own output: so far, the generative models that supply synthetic data."""
