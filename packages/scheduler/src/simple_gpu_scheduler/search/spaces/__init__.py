"""The values that a search can try.

`Space` has an `Axis` for each parameter, or for each group of linked ones. Each parameter has
`Choices`: listed values, or a distribution. A finite choice computes a value from its index, an
endless one only from a random fraction, so nothing is stored. The last axis varies fastest.

`conditions` evaluates `--exclude`: a small part of Python, which is checked before it is compiled.
No expression can call, import, or read an attribute.

Open `space` first.
"""
