"""Which method to fine-tune with: arms tuned with one budget, and compared at equal target loss."""
