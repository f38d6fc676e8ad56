"""How the shipped encoder was made, from data to weights: `train` in `tutor/training/train.py` is the one command."""
