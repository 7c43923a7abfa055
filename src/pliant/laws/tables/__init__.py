"""Tables that laws are fitted to: read, simulated, drawn."""
