"""The suite against the real Firebase emulator, which is large: `make test-firebase`."""
