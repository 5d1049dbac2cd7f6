"""HuBERT and Multi-Resolution HuBERT: the network, its named configurations and its checkpoints."""
