"""Files on this machine and at addresses: where they are, what can be done with them, and replacing them whole."""
