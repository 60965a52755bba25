"""Documents by reference: an event names where its text is, and it is read when its turn comes."""
