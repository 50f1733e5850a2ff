"""What a partner writes against a client that a generator made of our document."""
