"""Everything a person or another program touches: command line, storage, reports."""
