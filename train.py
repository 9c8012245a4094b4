"""Train a restorer: `python train.py fit --config configs/default_stage1.yaml`. Every field can be overridden."""

from lightendiff.cli.train import main

if __name__ == "__main__":
    main()
