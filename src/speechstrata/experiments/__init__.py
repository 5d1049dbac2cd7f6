"""The paper as an experiment: its models, its statistics stated beforehand, and the graph of stages that makes them."""
