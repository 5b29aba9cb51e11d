"""The history of the store's schema; each file in `versions` takes it one step further."""
