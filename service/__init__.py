"""The user interfaces of madaudit: command line, HTTP service, storage and reports."""
