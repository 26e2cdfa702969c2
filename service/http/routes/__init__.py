"""Routes by what they are about; each module has one router."""
