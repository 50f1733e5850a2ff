"""What the tests talk to: real parts where they run here, loopback servers where they do not."""
