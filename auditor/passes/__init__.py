"""The two passes of an audit over its shards, and the folder they write into."""
