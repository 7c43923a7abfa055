"""Which data: what sources are worth, which pools to train on, which criterion to prune by; answered from short runs made here."""
