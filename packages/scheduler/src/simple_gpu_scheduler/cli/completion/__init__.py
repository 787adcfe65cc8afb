"""`sgs completion`: scripts that make bash, zsh and fish complete our commands.

`spec` reads what each command takes from the command's own parser. `bash`, `zsh` and `fish` write
that down for a shell. `command` prints a script, or the values that a script asks for.

We write the scripts ourselves. shtab 1.13.0 also writes them for these three shells, but of the 22
tests of completion 8 fail with its own way to ask a command, and 7 with a function of ours for it:

- bash: `shtab.cmd` passes the values through `compgen -W`, which expands them: a group named
  `$(touch file)` runs that command when TAB is pressed.
- bash and zsh: nothing is offered after `--group=` or `--after=4,3,`.
- bash: a value with a blank becomes two words; quotes that the user has begun are not respected;
  a list of jobs doesn't show their states.
- fish: nothing is offered after a comma (`--after 1,`).

With functions of ours for all of that, little would remain that shtab does.
"""
