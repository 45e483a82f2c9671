"""`python -m mnist_tune NAME ...`, where `mnist-tune` is not on the PATH."""

from mnist_tune.commands.main import main

main()
