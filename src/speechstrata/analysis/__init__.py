"""What a layer holds: CCA, mutual information and sentence similarity over pooled states."""
