"""Everything a person or another program touches: command line, service, storage, reports."""
