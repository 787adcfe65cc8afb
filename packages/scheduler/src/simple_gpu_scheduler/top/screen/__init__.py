"""What `sgs top` shows, as pure functions: no file, no driver, no clock, no Textual.

    reader.QueueReader -> QueueState \
    GPUs               -> GpuStatus   > Board -> board.render_screen -> Lines -> widgets
    log file           -> Log        /

`Board` holds all that was read and all that the user has selected. The same board, time and size
always give the same lines. Every line is exactly as wide as the terminal, and all its text is
printable. Text has one style for each `Span`; `spans.STYLES` says what the styles look like.

Open `board` first. `scroll` knows only the sizes of the list's sections, not its jobs.
"""
