"""The two passes of an audit: evidence for each shard, then the result for the whole set."""
