"""A trusted reference: its components, how their items are stored, its file, its encoders."""
