"""Studies: checkpoints x changes x measures x seeds, planned as cells, run by workers, kept in a ledger."""
