"""Any speech encoder as layers with clocks of their own, and their hidden states."""
