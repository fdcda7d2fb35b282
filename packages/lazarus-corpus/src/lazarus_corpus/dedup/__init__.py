"""Equal and nearly equal documents. The survivors depend on the set of documents only."""
