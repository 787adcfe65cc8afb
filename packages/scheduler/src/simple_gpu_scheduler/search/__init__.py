"""simple_hypersearch: prints the commands of a hyperparameter search.

    arguments (Options) -> template (the command), spaces (the values) -> samplers -> commands

All of it is pure and lazy: a command is made when the next one is printed, so a grid of any size
takes constant memory. The same options, seed and version give the same commands in the same order.
Nothing is started; the commands go through a pipe to the scheduler.

The program must start in a few milliseconds. So re, typing, decimal and the like are imported only
where they are needed, and annotations use TYPE_CHECKING without `typing`.

Open `commands` first.
"""
