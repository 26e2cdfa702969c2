-- A key of scope read may see the jobs of other keys: 'all', or their ids separated by commas; NULL for its own alone.
ALTER TABLE api_keys ADD COLUMN sees VARCHAR;
