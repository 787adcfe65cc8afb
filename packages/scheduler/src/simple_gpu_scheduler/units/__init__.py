"""Quantities as users write and read them: durations, sizes of memory, times.

- `parse_*` reads what a user wrote. The parameter `what` names the option in the error message.
- `format_*` returns text for a person.
- In the program, durations are seconds (`_s`), sizes MiB (`_mib`), and times seconds since 1970.
- All modules are pure: the time now is a parameter. What can't be read is a `UsageError`.
"""
