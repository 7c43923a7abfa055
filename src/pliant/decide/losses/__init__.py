"""Which losses to fine-tune with: searched for on examples of another kind than those trained on."""
